import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { sweeperLockHolders } from '../api/sweeper/sweeper-state.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { post } from '../support/http-client.ts';
import { runSql } from '../support/sql.ts';
import { WAIT_OPTIONS } from '../support/wait-time.ts';
import { startServer, stopServers } from './server-process.ts';

let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(async () => {
  await stopServers();
  await database.close();
});

const start = () => startServer({ DATABASE_URL: database.url, STALLED_AFTER: '1h', LOG_LEVEL: 'info' });

describe('the sweeper', () => {
  it.each(['SIGKILL', 'SIGSTOP'] as const)('moves to another server after %s of the server that runs it', async signal => {
    const first = start();
    await first.ready();
    await vi.waitUntil(() => first.output().includes('this server sweeps from now on'), WAIT_OPTIONS);
    const [holder] = await sweeperLockHolders(database.url);
    const second = start();
    const url = await second.ready();
    await post(url, { query: 'mutation { createSession(input: { status: WORKING }) { session { id } } }' });
    expect(second.output()).not.toContain('this server sweeps from now on');

    first.kill(signal);
    await expect.poll(() => second.output().includes('this server sweeps from now on')).toBe(true);
    expect(await sweeperLockHolders(database.url)).not.toEqual([holder]);
    await runSql(database.url, "update aria_engine.chat_session_activity set last_activity_at = now() - interval '2 hours'");
    const events = () =>
      runSql<{ to: string }>(database.url, "select payload ->> 'to' as to from aria_engine.session_events where type = 'STATUS_CHANGED'");
    await expect.poll(events).toEqual([{ to: 'STALLED' }]);
    // When the stopped server continues, it has lost its connection and the lock, so it does not sweep.
    first.kill('SIGCONT');
    if (signal === 'SIGSTOP') {
      await vi.waitUntil(() => first.output().includes('the sweeper cannot reach the database'), WAIT_OPTIONS);
      expect(await sweeperLockHolders(database.url)).toHaveLength(1);
    }
    expect(await events()).toEqual([{ to: 'STALLED' }]);
  });
});
