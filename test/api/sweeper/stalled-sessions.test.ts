import { describe, expect, it } from 'vitest';
import { stallSessions } from '../../../src/sweeper/tasks/stall-sessions.ts';
import { useMutationApi } from '../session/mutation-api.ts';

const api = useMutationApi({ env: { STALLED_AFTER: '1h' } });
const REASON = 'No activity for 1 hour';
const HOUR_MS = 3_600_000;

/** Sets the last activity of the sessions to two hours ago. */
async function makeInactive(...ids: readonly string[]): Promise<void> {
  await api.rows(
    "update aria_engine.chat_session_activity set last_activity_at = now() - interval '2 hours' where session_id = any($1::uuid[])",
    [ids],
  );
}

async function statusOf(id: string): Promise<unknown> {
  return (await api.session(id))?.status;
}

describe('the sweeper of stalled sessions', () => {
  it('marks inactive WORKING and SPAWNING sessions as STALLED with one event, and no other sessions', async () => {
    const create = (status: string) => api.create({ status });
    const [working, spawning, waiting, fresh] = [
      await create('WORKING'),
      await create('SPAWNING'),
      await create('ACTIVE'),
      await create('WORKING'),
    ];
    const [trashed, superseded] = [await create('WORKING'), await create('WORKING')];
    await api.mutate('deleteSession', { id: trashed.id }, 'deletedId');
    await api.rows('update aria_engine.chat_sessions set superseded_at = now() where id = $1', [superseded.sessionId]);
    const stream = await api.app.subscribe<{ sessionStatusChanged: Record<string, unknown> }>(
      'subscription ($id: ID!) { sessionStatusChanged(sessionId: $id) { from to reason } }',
      { id: working.sessionId },
    );
    // Age updatedAt too, so that the test sees the sweeper set it.
    await api.rows(
      "update aria_engine.chat_session_activity set updated_at = updated_at - interval '1 hour' where session_id = any($1::uuid[])",
      [[working.sessionId, spawning.sessionId]],
    );
    // One statement, so that one sweep sees all of them.
    await makeInactive(...[working, spawning, waiting, trashed, superseded].map(({ sessionId }) => sessionId));
    expect(await stream.next()).toEqual({ sessionStatusChanged: { from: 'WORKING', to: 'STALLED', reason: REASON } });
    await expect.poll(() => statusOf(spawning.id)).toBe('STALLED');
    for (const before of [working, spawning]) {
      const after = await api.session(before.id);
      expect(after).toMatchObject({ status: 'STALLED', statusReason: REASON, version: before.version + 1, endedAt: null });
      expect(Date.parse(after?.updatedAt ?? '')).toBeGreaterThanOrEqual(Date.parse(before.updatedAt));
      expect(Date.parse(after?.lastActivityAt ?? '')).toBeLessThan(Date.parse(before.lastActivityAt) - HOUR_MS);
      const events = await api.events(before.sessionId);
      expect(events).toMatchObject([
        { type: 'CREATED' },
        { type: 'STATUS_CHANGED', payload: { from: before.status, to: 'STALLED', reason: REASON, usage: { totalTokens: 0 } } },
      ]);
      expect(events[1]?.payload.idleMs).toBeGreaterThanOrEqual(2 * HOUR_MS);
    }
    expect(await statusOf(waiting.id)).toBe('ACTIVE');
    for (const { id } of [fresh, trashed, superseded]) expect(await statusOf(id)).toBe('WORKING');
  });

  it('marks a session again that became active and then inactive', async () => {
    const { id, sessionId } = await api.create({ status: 'WORKING' });
    await makeInactive(sessionId);
    await expect.poll(() => statusOf(id)).toBe('STALLED');
    await api.append(id, { content: 'still here' });
    expect(await api.session(id)).toMatchObject({ status: 'WORKING', statusReason: null, version: 3, messageCount: 1 });
    await makeInactive(sessionId);
    await expect.poll(() => statusOf(id)).toBe('STALLED');
    const events = await api.events(sessionId);
    expect(events.map(({ type, payload }) => (type === 'STATUS_CHANGED' ? `${payload.from} ${payload.to}` : type))).toEqual([
      'CREATED',
      'WORKING STALLED',
      'MESSAGE_ADDED',
      'STALLED WORKING',
      'WORKING STALLED',
    ]);
  });

  it('measures inactivity from the time a session was set to WORKING', async () => {
    const { id, sessionId } = await api.create({ status: 'ACTIVE' });
    const marker = await api.create({ status: 'WORKING' });
    await makeInactive(sessionId);
    await api.update({ id, status: 'WORKING' });
    await makeInactive(marker.sessionId);
    await expect.poll(() => statusOf(marker.id)).toBe('STALLED');
    expect(await statusOf(id)).toBe('WORKING');
    await api.rows("update aria_engine.chat_sessions set working_since = now() - interval '2 hours' where id = $1", [sessionId]);
    await expect.poll(() => statusOf(id)).toBe('STALLED');
  });
});

describe('stallSessions', () => {
  // The test sessions are inactive for longer than this, but shorter than STALLED_AFTER, so that the server's sweeper does not mark them.
  const INACTIVE_MS = 60_000;
  const lost = new AbortController().signal;
  const sweep = (size: number, skip: readonly string[] = []) => stallSessions(api.app.app.database, INACTIVE_MS, { size, skip, lost });

  async function createInactive(count: number): Promise<string[]> {
    const created = await Promise.all(Array.from({ length: count }, () => api.create({ status: 'WORKING' })));
    const ids = created.map(({ sessionId }) => sessionId);
    await api.rows(
      "update aria_engine.chat_session_activity set last_activity_at = now() - interval '5 minutes' where session_id = any($1::uuid[])",
      [ids],
    );
    return ids;
  }

  async function changesOf(id: string): Promise<string[]> {
    const events = await api.events(id);
    return events.map(({ type, payload }) => (type === 'STATUS_CHANGED' ? `${payload.from} ${payload.to}` : type)).slice(1);
  }

  it('marks at most `size` sessions and reports whether there are more', async () => {
    const ids = await createInactive(25);
    expect(await sweep(10)).toEqual({ taken: 10, failed: [], more: true });
    expect(await sweep(10)).toEqual({ taken: 10, failed: [], more: true });
    expect(await sweep(10)).toEqual({ taken: 5, failed: [], more: false });
    for (const id of ids) expect(await changesOf(id)).toEqual(['WORKING STALLED']);
    expect(await sweep(10)).toEqual({ taken: 0, failed: [], more: false });
  });

  it('skips a locked session, and does not mark it if the lock holder wrote activity', async () => {
    const [id = ''] = await createInactive(1);
    const writer = await api.connect();
    await writer.query('begin');
    await writer.query('select 1 from aria_engine.chat_sessions where id = $1 for no key update', [id]);
    expect(await sweep(10)).toEqual({ taken: 0, failed: [], more: false });
    await writer.query('update aria_engine.chat_session_activity set last_activity_at = clock_timestamp() where session_id = $1', [id]);
    await writer.query('commit');
    await writer.end();
    expect(await sweep(10)).toEqual({ taken: 0, failed: [], more: false });
    expect(await statusOf(id)).toBe('WORKING');
  });

  it('and a concurrent append have the same result as one after the other', async () => {
    const ids = await createInactive(60);
    const appended = ids.map(id => api.append(id, { content: 'here' }));
    while ((await sweep(5)).more);
    await Promise.all(appended);
    for (const id of ids) {
      expect(await statusOf(id)).toBe('WORKING');
      expect([['MESSAGE_ADDED'], ['WORKING STALLED', 'MESSAGE_ADDED', 'STALLED WORKING']]).toContainEqual(await changesOf(id));
    }
  });

  it('writes one event per session when four sweeps run concurrently', async () => {
    const ids = await createInactive(120);
    const sweepers = Array.from({ length: 4 }, async () => {
      let taken = 0;
      for (let round = 0; round < 40; round += 1) taken += (await sweep(7)).taken;
      return taken;
    });
    const taken = (await Promise.all(sweepers)).reduce((sum, number) => sum + number, 0);
    while ((await sweep(50)).more);
    expect(taken).toBeLessThanOrEqual(120);
    for (const id of ids) {
      expect(await changesOf(id)).toEqual(['WORKING STALLED']);
      expect(await api.session(id)).toMatchObject({ status: 'STALLED', version: 2 });
    }
  });

  it('marks the other sessions of a batch if one of them fails', async () => {
    const ids = await createInactive(6);
    const failingId = ids[3] ?? '';
    await api.rows(`create function aria_engine.refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$`);
    await api.rows(`create trigger refuse before update on aria_engine.chat_sessions for each row
      when (old.id = '${failingId}') execute function aria_engine.refuse()`);
    expect(await sweep(10)).toMatchObject({ taken: 5, failed: [{ id: failingId, error: expect.any(Error) }] });
    expect(await sweep(10, [failingId])).toEqual({ taken: 0, failed: [], more: false });
    await api.rows('drop trigger refuse on aria_engine.chat_sessions');
    expect(await sweep(10)).toEqual({ taken: 1, failed: [], more: false });
    for (const id of ids) expect(await changesOf(id)).toEqual(['WORKING STALLED']);
  });
});
