import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { openEventStream, type RawEventStream } from '../../support/raw-event-stream.ts';
import { type StubServer, startStubServer } from '../../support/stub-server.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});

const streams: RawEventStream[] = [];
afterEach(() => {
  for (const stream of streams.splice(0)) stream.abort();
});

/** Opens a stream with GET, as an EventSource does. */
async function open(url: string, query: string, headers: Record<string, string> = {}): Promise<RawEventStream> {
  const stream = await openEventStream(`${url}?query=${encodeURIComponent(query)}`, headers);
  streams.push(stream);
  return stream;
}

async function createSession(title: string): Promise<string> {
  const { createSession: created } = (
    await app.gql<{ createSession: { session: { sessionId: string } } }>(
      'mutation ($title: String) { createSession(input: { title: $title }) { session { sessionId } } }',
      { title },
    )
  ).expectOk();
  return created.session.sessionId;
}

async function rename(id: string, title: string): Promise<void> {
  const RENAME = 'mutation ($id: ID!, $title: String) { updateSession(input: { id: $id, title: $title }) { session { version } } }';
  (await app.gql(RENAME, { id, title })).expectOk();
}

const titlesOf = (id: string) => `subscription { sessionEvents(filter: { sessionIds: ["${id}"] }) { session { title } } }`;

/** Renames the session and returns the cursor of that event. */
async function cursorOfNewEvent(id: string): Promise<string> {
  const stream = await app.subscribe<{ sessionEvents: { cursor: string } }>(
    `subscription { sessionEvents(filter: { sessionIds: ["${id}"] }) { cursor } }`,
  );
  await rename(id, 'marked');
  const { sessionEvents } = await stream.next();
  await stream.close();
  return sessionEvents.cursor;
}

describe('an event stream', () => {
  it('sends the cursor of each event as its id, whether or not the query selects it', async () => {
    const id = await createSession('first');
    const cursor = await cursorOfNewEvent(id);
    const stream = await open(app.url, titlesOf(id).replace('{ session {', '{ again: cursor session {'), { 'last-event-id': cursor });
    const bare = await open(app.url, titlesOf(id), { 'last-event-id': cursor });
    await rename(id, 'second');
    const event = await stream.next();
    expect(JSON.parse(event.data)).toEqual({ data: { sessionEvents: { again: event.id, session: { title: 'second' } } } });
    expect(await bare.next()).toEqual({
      id: event.id,
      event: 'next',
      data: JSON.stringify({ data: { sessionEvents: { session: { title: 'second' } } } }),
    });
    expect(bare.headers.get('content-type')).toBe('text/event-stream');
    expect(bare.retryMs()).toBeGreaterThan(0);
  });

  it('resumes after Last-Event-ID, which takes precedence over the argument after', async () => {
    const id = await createSession('first');
    const cursor = await cursorOfNewEvent(id);
    const stream = await open(app.url, titlesOf(id), { 'last-event-id': cursor });
    await rename(id, 'second');
    await rename(id, 'third');
    const second = await stream.next();
    const third = await stream.next();
    stream.abort();
    const [argument, header] = [cursor, second.id ?? ''];
    const resumed = await open(app.url, titlesOf(id).replace('(filter', `(after: "${argument}", filter`), { 'last-event-id': header });
    expect((await resumed.next()).id).toBe(third.id);
  });

  it('sends an id before its first event, so that a client can resume from the start', async () => {
    const id = await createSession('first');
    const stream = await open(app.url, titlesOf(id));
    await expect.poll(() => stream.lastEventId()).not.toBeNull();
    stream.abort();
    await rename(id, 'second');
    await rename(id, 'third');
    const resumed = await open(app.url, titlesOf(id), { 'last-event-id': stream.lastEventId() ?? '' });
    const events = [await resumed.next(), await resumed.next()];
    expect(new Set(events.map(event => event.id)).size).toBe(2);
  });

  it.each([
    ['malformed', 'nonsense', 'BAD_CURSOR'],
    ['beyond the end of the log', Buffer.from('e1:999999999999').toString('base64url'), 'BAD_CURSOR'],
  ])('sends BAD_CURSOR, completes and sets a retry time of a day if Last-Event-ID is %s', async (_what, lastEventId, code) => {
    const id = await createSession('first');
    const stream = await open(app.url, titlesOf(id), { 'last-event-id': lastEventId });
    expect(JSON.parse((await stream.next()).data)).toMatchObject({ errors: [{ extensions: { code, retryable: false } }] });
    expect(await stream.next()).toEqual({ event: 'complete', data: '' });
    expect(stream.retryMs()).toBe(86_400_000);
    expect(await stream.ended).toBeUndefined();
  });
});

describe('an event stream of the stub server', () => {
  let server: StubServer;
  afterEach(() => server.close());

  it('sends no id for results without a cursor, and completes when the source ends', async () => {
    server = await startStubServer();
    const stream = await open(server.url, 'subscription { ticks(upTo: 1) { n } }');
    expect(await stream.next()).toEqual({ event: 'next', data: '{"data":{"ticks":{"n":1}}}' });
    expect(await stream.next()).toEqual({ event: 'complete', data: '' });
    await stream.ended;
  });

  it('sets a retry time of 5 seconds after a retryable error', async () => {
    server = await startStubServer();
    const stream = await open(server.url, 'subscription { ticks(upTo: 0, fail: "away") { n } }');
    expect(JSON.parse((await stream.next()).data)).toMatchObject({ errors: [{ extensions: { code: 'SERVICE_UNAVAILABLE' } }] });
    expect(await stream.next()).toEqual({ event: 'complete', data: '' });
    expect(stream.retryMs()).toBe(5_000);
  });

  it('sends heartbeat comments', async () => {
    server = await startStubServer({ eventStreams: { heartbeatMs: 5 } });
    const stream = await open(server.url, 'subscription { never { n } }');
    await expect.poll(() => stream.comments()).toBeGreaterThan(2);
  });
});
