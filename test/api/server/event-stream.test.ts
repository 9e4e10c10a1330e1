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

/** As an EventSource asks. */
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

/** The cursor of the last event there is. */
async function lastCursor(id: string): Promise<string> {
  const stream = await app.subscribe<{ sessionEvents: { cursor: string } }>(
    `subscription { sessionEvents(filter: { sessionIds: ["${id}"] }) { cursor } }`,
  );
  await rename(id, 'marked');
  const { sessionEvents } = await stream.next();
  await stream.close();
  return sessionEvents.cursor;
}

describe('an event stream', () => {
  it('carries the cursor of each event as its id, whatever is selected, and nowhere else', async () => {
    const id = await createSession('first');
    const marked = await lastCursor(id);
    const stream = await open(app.url, titlesOf(id).replace('{ session {', '{ again: cursor session {'), { 'last-event-id': marked });
    const bare = await open(app.url, titlesOf(id), { 'last-event-id': marked });
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

  it('goes on behind Last-Event-ID, which wins over after', async () => {
    const id = await createSession('first');
    const marked = await lastCursor(id);
    const stream = await open(app.url, titlesOf(id), { 'last-event-id': marked });
    await rename(id, 'second');
    await rename(id, 'third');
    const second = await stream.next();
    const third = await stream.next();
    stream.abort();
    const [argument, header] = [marked, second.id ?? ''];
    const resumed = await open(app.url, titlesOf(id).replace('(filter', `(after: "${argument}", filter`), { 'last-event-id': header });
    expect((await resumed.next()).id).toBe(third.id);
  });

  it('has an id to come again with before its first event', async () => {
    const id = await createSession('first');
    const stream = await open(app.url, titlesOf(id));
    await expect.poll(() => stream.lastEventId()).not.toBeNull();
    stream.abort();
    await rename(id, 'second');
    await rename(id, 'third');
    const resumed = await open(app.url, titlesOf(id), { 'last-event-id': stream.lastEventId() ?? '' });
    const told = [await resumed.next(), await resumed.next()];
    expect(new Set(told.map(event => event.id)).size).toBe(2);
  });

  it.each([
    ['that is none', 'nonsense', 'BAD_CURSOR'],
    ['ahead of the log', Buffer.from('e1:999999999999').toString('base64url'), 'BAD_CURSOR'],
  ])('with a Last-Event-ID %s tells so, completes, and is not asked for again soon', async (_what, lastEventId, code) => {
    const id = await createSession('first');
    const stream = await open(app.url, titlesOf(id), { 'last-event-id': lastEventId });
    expect(JSON.parse((await stream.next()).data)).toMatchObject({ errors: [{ extensions: { code, retryable: false } }] });
    expect(await stream.next()).toEqual({ event: 'complete', data: '' });
    expect(stream.retryMs()).toBe(86_400_000);
    expect(await stream.ended).toBeUndefined();
  });
});

describe('a small server', () => {
  let server: StubServer;
  afterEach(() => server.close());

  it('writes no id for what is no event of a log, and completes a stream that is over', async () => {
    server = await startStubServer();
    const stream = await open(server.url, 'subscription { ticks(upTo: 1) { n } }');
    expect(await stream.next()).toEqual({ event: 'next', data: '{"data":{"ticks":{"n":1}}}' });
    expect(await stream.next()).toEqual({ event: 'complete', data: '' });
    await stream.ended;
  });

  it('tells a failure that may be over soon when to come again', async () => {
    server = await startStubServer();
    const stream = await open(server.url, 'subscription { ticks(upTo: 0, fail: "away") { n } }');
    expect(JSON.parse((await stream.next()).data)).toMatchObject({ errors: [{ extensions: { code: 'SERVICE_UNAVAILABLE' } }] });
    expect(await stream.next()).toEqual({ event: 'complete', data: '' });
    expect(stream.retryMs()).toBe(5_000);
  });

  it('sends a comment every so often', async () => {
    server = await startStubServer({ eventStreams: { heartbeatMs: 5 } });
    const stream = await open(server.url, 'subscription { never { n } }');
    await expect.poll(() => stream.comments()).toBeGreaterThan(2);
  });
});
