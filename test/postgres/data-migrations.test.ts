import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { expect, it } from 'vitest';
import { migrate, migrationsFolder } from '../../src/postgres/migrations.ts';
import { createTestDatabase } from '../support/database.ts';

it('session_ends_and_last_messages gives ended sessions an end, and sessions the time of their last message', async () => {
  const database = await createTestDatabase({ empty: true });
  const folder = await mkdtemp(join(tmpdir(), 'sessiongraph-test-'));
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    const names = (await readdir(migrationsFolder())).sort();
    for (const name of names.slice(
      0,
      names.findIndex(each => each.endsWith('session_ends_and_last_messages')),
    )) {
      await cp(join(migrationsFolder(), name), join(folder, name), { recursive: true });
    }
    await migrate(database.url, { folder });
    const insert = async (status: string, endedAt: string | null) => {
      const { rows } = await client.query(
        `insert into aria_engine.chat_sessions (id, agent_id, kind, title, status, ended_at)
         values (gen_random_uuid(), 'main', 'OTHER', $1::text, $1::aria_engine.session_status, $2) returning id`,
        [status, endedAt],
      );
      await client.query(
        `insert into aria_engine.chat_session_activity (session_id, agent_id, last_activity_at, last_message_at, leaf_position)
         values ($1, 'main', '2026-01-05', '2026-01-04', 2)`,
        [rows[0].id],
      );
      await client.query(
        `insert into aria_engine.chat_messages (session_id, position, id, role, content, created_at)
         values ($1, 1, gen_random_uuid(), 'USER', 'a', '2026-01-04'), ($1, 2, gen_random_uuid(), 'USER', 'b', '2026-01-03')`,
        [rows[0].id],
      );
    };
    for (const [status, endedAt] of [
      ['ENDED', null],
      ['FAILED', '2026-01-02'],
      ['WORKING', null],
    ] as const)
      await insert(status, endedAt);
    await migrate(database.url);
    const { rows } = await client.query(
      `select s.title, s.ended_at::date::text as ended, a.last_message_at::date::text as last
       from aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id order by 1`,
    );
    expect(rows).toEqual([
      { title: 'ENDED', ended: '2026-01-05', last: '2026-01-03' },
      { title: 'FAILED', ended: '2026-01-02', last: '2026-01-03' },
      { title: 'WORKING', ended: null, last: '2026-01-03' },
    ]);
  } finally {
    await client.end();
    await database.close();
    await rm(folder, { recursive: true, force: true });
  }
});
