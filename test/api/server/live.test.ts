import { beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});

const CREATE = 'mutation ($title: String) { createSession(input: { title: $title }) { session { sessionId } } }';
const RENAME = 'mutation ($id: ID!, $title: String) { updateSession(input: { id: $id, title: $title }) { session { version } } }';
const EVENTS = 'subscription ($ids: [ID!]) { sessionEvents(filter: { sessionIds: $ids }) { __typename session { title } } }';

async function createSession(title: string): Promise<string> {
  const { createSession: created } = (await app.gql<{ createSession: { session: { sessionId: string } } }>(CREATE, { title })).expectOk();
  return created.session.sessionId;
}

describe.each(['ws', 'sse'] as const)('a subscription over %s', over => {
  it('reads the current session for each event instead of a cached one', async () => {
    const id = await createSession('first');
    const stream = await app.subscribe(EVENTS, { ids: [id] }, { over });
    for (const title of ['second', 'third']) {
      (await app.gql(RENAME, { id, title })).expectOk();
      expect(await stream.next()).toEqual({ sessionEvents: { __typename: 'SessionUpdatedEvent', session: { title } } });
    }
    await stream.close();
  });

  it('delivers changes made through another server', async () => {
    const other = await app.startSecondServer();
    const id = await createSession('first');
    const stream = await other.subscribe(EVENTS, { ids: [id] }, { over });
    (await app.gql(RENAME, { id, title: 'from afar' })).expectOk();
    expect(await stream.next()).toMatchObject({ sessionEvents: { session: { title: 'from afar' } } });
    await stream.close();
    await other.close();
  });

  it('returns SESSION_NOT_FOUND for an unknown session', async () => {
    const stream = await app.subscribe(
      'subscription ($id: ID!) { messageAdded(sessionId: $id) { cursor } }',
      { id: '018f0000-0000-7000-8000-000000000000' },
      { over },
    );
    expect(await stream.nextResult()).toMatchObject({ errors: [{ extensions: { code: 'SESSION_NOT_FOUND' } }] });
    expect(await stream.nextResult()).toBeNull();
  });

  it('is released on the server when the client closes it', async () => {
    const openSubscriptions = () => app.app.events.gauges().subscriptions;
    await expect.poll(openSubscriptions).toBe(0);
    const stream = await app.subscribe(EVENTS, {}, { over });
    expect(openSubscriptions()).toBe(1);
    await stream.close();
    await expect.poll(openSubscriptions).toBe(0);
  });
});
