import { describe, expect, it } from 'vitest';
import { purgeTrash } from '../../../src/sweeper/tasks/purge-trash.ts';
import { type MutationApi, type SessionView, typesOf, useMutationApi } from '../session/mutation-api.ts';
import { readMetric, terminateSweeperConnection } from './sweeper-state.ts';

const api = useMutationApi();
const lost = new AbortController().signal;

/** Moves the session to the trash as if that had happened `days` days ago. */
async function trash(on: MutationApi, session: SessionView, days: number): Promise<void> {
  await on.mutate('deleteSession', { id: session.id }, 'deletedId');
  await on.rows('update aria_engine.chat_sessions set deleted_at = now() - make_interval(days => $2) where id = $1', [
    session.sessionId,
    days,
  ]);
}

describe('purgeTrash', () => {
  const purge = (size = 20) => purgeTrash(api.app.app.database, 2, { size, skip: [], lost });

  it('deletes at most `size` sessions, oldest first, and keeps those within TRASH_DAYS', async () => {
    const sessions = await Promise.all(Array.from({ length: 5 }, () => api.create()));
    for (const [index, session] of sessions.entries()) await trash(api, session, index);
    expect(await purge(2)).toEqual({ taken: 2, failed: [], more: true });
    expect(await purge(2)).toEqual({ taken: 1, failed: [], more: false });
    const remaining = await Promise.all(sessions.map(({ id }) => api.session(id)));
    expect(remaining.map(session => session !== null)).toEqual([true, true, false, false, false]);
  });

  it('skips a session that is being restored', async () => {
    const session = await api.create();
    await trash(api, session, 3);
    const writer = await api.connect();
    await writer.query('begin');
    await writer.query('update aria_engine.chat_sessions set deleted_at = null where id = $1', [session.sessionId]);
    expect(await purge()).toEqual({ taken: 0, failed: [], more: false });
    await writer.query('commit');
    await writer.end();
    expect(await purge()).toEqual({ taken: 0, failed: [], more: false });
    expect(await api.session(session.id)).toMatchObject({ deletedAt: null });
  });

  it('deletes each session once when four purges run concurrently', async () => {
    const sessions = await Promise.all(Array.from({ length: 30 }, () => api.create()));
    for (const session of sessions) await trash(api, session, 3);
    const outcomes = await Promise.all(Array.from({ length: 4 }, () => purge(50)));
    expect(outcomes.reduce((sum, { taken }) => sum + taken, 0)).toBe(30);
    for (const { sessionId } of sessions) expect(typesOf(await api.events(sessionId))).toEqual(['CREATED', 'DELETED', 'DELETED']);
  });
});

describe('a server with TRASH_DAYS', () => {
  const server = useMutationApi({ env: { TRASH_DAYS: '2' } });

  it('permanently deletes all older trashed sessions, in several batches, like deleteSession with permanent: true', async () => {
    const { url, databaseUrl } = server.app;
    const sweeps = async () => (await readMetric(url, 'sessiongraph_sweep_duration_seconds_count'))['task="trash"'] ?? 0;
    await expect.poll(sweeps).toBeGreaterThan(0);
    const parent = await server.create({ title: 'parent' });
    const child = await server.create({ parentId: parent.id });
    await server.append(parent.id, { content: 'gone with it' });
    const many = await Promise.all(Array.from({ length: 45 }, () => server.create()));
    const kept = await server.create();
    for (const { id } of [parent, ...many]) await server.mutate('deleteSession', { id }, 'deletedId');
    await trash(server, kept, 1);
    const stream = await server.app.subscribe<{ sessionEvents: Record<string, unknown> }>(
      'subscription ($id: ID!) { sessionEvents(filter: { sessionIds: [$id] }) { __typename session { id } } }',
      { id: parent.sessionId },
    );
    // One statement, so that one sweep sees all of them.
    await server.rows(`update aria_engine.chat_sessions set deleted_at = now() - interval '3 days' where id = any($1::uuid[])`, [
      [parent, ...many].map(({ sessionId }) => sessionId),
    ]);
    // The sweeper runs the task again when it restarts; otherwise only after a minute.
    await terminateSweeperConnection(databaseUrl);
    expect(await stream.next()).toEqual({ sessionEvents: { __typename: 'SessionDeletedEvent', session: null } });
    const trashedCount = () =>
      server.rows('select 1 from aria_engine.chat_sessions where deleted_at is not null').then(rows => rows.length);
    await expect.poll(trashedCount).toBe(1);
    await expect.poll(() => readMetric(url, 'sessiongraph_swept_total')).toMatchObject({ 'task="trash"': 46 });
    expect(server.app.log).toContainEqual(expect.objectContaining({ msg: 'swept', task: 'trash', taken: 46, failed: 0 }));

    expect(await server.session(parent.id)).toBeNull();
    expect(await server.session(kept.id)).toMatchObject({ id: kept.id });
    expect(await server.session(child.id)).toMatchObject({ parent: null, depth: 0, version: child.version + 1 });
    expect(await server.events(child.sessionId)).toMatchObject([
      { type: 'CREATED' },
      { type: 'UPDATED', payload: { changed: ['parent', 'depth'] } },
    ]);
    expect((await server.events(parent.sessionId)).at(-1)).toMatchObject({ type: 'DELETED', payload: { permanent: true } });
    const countOf = (table: string) => server.rows(`select 1 from aria_engine.${table} where session_id = $1`, [parent.sessionId]);
    expect(await countOf('chat_messages')).toHaveLength(0);
    expect(await countOf('session_tombstones')).toHaveLength(1);
  });
});
