import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeEventCursor } from '../../../src/events/event-cursor.ts';
import { dropExpiredPartitions, ensureEventPartitions, partitionNameOf } from '../../../src/events/partitions.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';

const DAY_MS = 86_400_000;
const WEEK_MS = 7 * DAY_MS;
/** More events than the server buffers for one stream. */
const OLD_EVENTS = 1_000;

interface EventData {
  readonly sessionEvents: { readonly cursor: string; readonly session: { readonly title: string } };
}

const EVENTS =
  'subscription($filter: SessionEventFilter, $after: String) { sessionEvents(filter: $filter, after: $after) { cursor session { title } } }';

let app: TestApp;
let client: pg.Client;
let sessionId: string;
let oldDay: Date;

beforeEach(async () => {
  app = await startTestApp({ env: { REQUEST_TIMEOUT: '10m' } });
  client = new pg.Client(app.databaseUrl);
  await client.connect();
  const created = await app.gql<{ createSession: { session: { sessionId: string } } }>(
    'mutation { createSession(input: { title: "old" }) { session { sessionId } } }',
  );
  ({ sessionId } = created.expectOk().createSession.session);
  oldDay = new Date(Date.now() - 9 * DAY_MS);
  await ensureEventPartitions(client, oldDay);
  await client.query(
    `insert into aria_engine.session_events (occurred_at, session_id, agent_id, type, payload)
     select $1, $2, 'main', 'UPDATED', '{"changed":["title"]}' from generate_series(1, $3::int)`,
    [oldDay, sessionId, OLD_EVENTS],
  );
});

afterEach(async () => {
  await client.end();
  await app.close();
});

async function rename(title: string): Promise<void> {
  const RENAME = 'mutation ($id: ID!, $title: String) { updateSession(input: { id: $id, title: $title }) { session { version } } }';
  (await app.gql(RENAME, { id: sessionId, title })).expectOk();
}

/** Resolves when a statement of the server waits for the lock on chat_sessions. */
async function serverToWaitForLock(): Promise<void> {
  await expect
    .poll(async () => {
      const { rows } = await client.query(
        `select from pg_locks join pg_stat_activity using (pid)
         where not granted and application_name = 'sessiongraph' and relation = 'aria_engine.chat_sessions'::regclass`,
      );
      return rows.length;
    })
    .toBeGreaterThan(0);
}

describe.each(['ws', 'sse'] as const)('sessionEvents over %s when a partition is dropped before the stream has read it', over => {
  it('delivers the buffered events, ends with CURSOR_EXPIRED and allows a new subscription without the cursor', async () => {
    const filter = { sessionIds: [sessionId], types: ['UPDATED'] };
    const locker = new pg.Client(app.databaseUrl);
    await locker.connect();
    // The lock keeps the server from resolving the first event, so the stream stays behind.
    await locker.query('begin; lock table aria_engine.chat_sessions in access exclusive mode');
    const stream = await app.subscribe<EventData>(EVENTS, { filter, after: encodeEventCursor(1n) }, { over });
    const first = stream.next();
    await serverToWaitForLock();
    // A call skips a partition that vacuum is reading, so it is repeated.
    await expect.poll(() => dropExpiredPartitions(client, new Date(), WEEK_MS)).toContain(partitionNameOf(oldDay));
    await locker.end();

    const cursors = [(await first).sessionEvents.cursor];
    let last = await stream.nextResult();
    for (; last?.data != null; last = await stream.nextResult()) cursors.push(last.data.sessionEvents.cursor);
    expect(last).toMatchObject({ errors: [{ extensions: { code: 'CURSOR_EXPIRED', retryable: false } }] });
    expect(await stream.nextResult().catch(() => null)).toBeNull();
    expect(cursors.length).toBeGreaterThan(1);
    expect(cursors.length).toBeLessThan(OLD_EVENTS);
    expect(cursors).toEqual(cursors.map((_, index) => encodeEventCursor(BigInt(index + 2))));

    const refused = await app.subscribe(EVENTS, { filter, after: cursors.at(-1) }, { over });
    expect(await refused.nextResult()).toMatchObject({ errors: [{ extensions: { code: 'CURSOR_EXPIRED' } }] });
    const fresh = await app.subscribe<EventData>(EVENTS, { filter }, { over });
    await rename('new');
    const { sessionEvents: event } = await fresh.next();
    expect(event.session.title).toBe('new');
    await rename('newer');
    const resumed = await app.subscribe<EventData>(EVENTS, { filter, after: event.cursor }, { over });
    expect((await resumed.next()).sessionEvents.session.title).toBe('newer');
    await Promise.all([fresh.close(), resumed.close()]);
  });
});
