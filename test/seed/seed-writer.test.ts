import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { writeSessions } from '../../scripts/seed/seed-writer.ts';
import { generateSessions, type SeedOptions } from '../../scripts/seed/session-generator.ts';
import { createDatabase } from '../../src/postgres/pooled-database.ts';
import { stallSessions } from '../../src/sweeper/tasks/stall-sessions.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const KEYS = { defaultAgent: 'main', mainKey: 'main' };
const OPTIONS: SeedOptions = { sessions: 60, messages: 12, seed: 1, until: new Date('2026-03-01T12:00:00.000Z'), keys: KEYS };

let database: TestDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await createTestDatabase();
  client = new pg.Client(database.url);
  await client.connect();
});

afterAll(async () => {
  await client?.end();
  await database?.close();
});

beforeEach(async () => {
  await client.query(
    'truncate aria_engine.chat_sessions, aria_engine.chat_session_activity, aria_engine.chat_messages, aria_engine.session_events, aria_engine.session_tombstones',
  );
});

const write = (changes: Partial<SeedOptions> = {}) => writeSessions(client, generateSessions({ ...OPTIONS, ...changes }), KEYS);

async function rows<Row extends pg.QueryResultRow>(sql: string): Promise<Row[]> {
  return (await client.query<Row>(sql)).rows;
}

describe('writeSessions', () => {
  it('writes every row as it was generated', async () => {
    expect(await write()).toEqual({ sessions: 60, messages: 720, skipped: 0, namesDropped: 0 });
    const generated = [...generateSessions(OPTIONS)];
    const [stored] = await rows<Record<string, unknown>>(
      `select * from aria_engine.chat_sessions where kind = 'GROUP' order by id limit 1`,
    );
    const session = generated.find(({ session: { id } }) => id === stored?.id)?.session;
    expect(stored).toMatchObject({
      key: session?.key,
      title: session?.title,
      tags: session?.tags,
      origin: session?.origin,
      metadata: session?.metadata,
      started_at: session?.startedAt,
      ended_at: session?.endedAt,
    });
    const messages = await rows<{ content: string; parts: unknown }>(
      'select content, parts from aria_engine.chat_messages order by session_id, position',
    );
    const expected = generated.toSorted((a, b) => (a.session.id < b.session.id ? -1 : 1)).flatMap(of => of.messages);
    expect(messages).toEqual(expected.map(({ content, parts }) => ({ content, parts })));
  });

  it('writes counters that match the messages, and one event per session, parents first', async () => {
    await write();
    const wrong = await rows(`
      select a.session_id
      from aria_engine.chat_session_activity a
      join aria_engine.chat_sessions s on s.id = a.session_id
      join lateral (
        select count(*) as messages, max(position) as last, max(created_at) as last_at, coalesce(sum(total_tokens), 0) as tokens, coalesce(sum(cost_nano_usd), 0) as cost
        from aria_engine.chat_messages m where m.session_id = a.session_id
      ) m on true
      where (a.message_count, a.next_position, a.leaf_position, a.last_message_at, a.total_tokens, a.cost_nano_usd, a.agent_id, a.listed)
        is distinct from (m.messages, m.last + 1, m.last, m.last_at, m.tokens, m.cost, s.agent_id, s.deleted_at is null and s.superseded_at is null)`);
    expect(wrong).toEqual([]);
    const events = await rows<{ session_id: string; type: string; seq: string | null; payload: { parentId?: string } }>(
      'select session_id, type, seq, payload from aria_engine.session_events order by id',
    );
    expect(events.map(event => event.session_id)).toEqual([...generateSessions(OPTIONS)].map(({ session }) => session.id));
    expect(events.every(event => event.type === 'CREATED' && event.seq === null)).toBe(true);
    const created = new Set<string>();
    for (const event of events) {
      expect(event.payload.parentId === undefined || created.has(event.payload.parentId)).toBe(true);
      created.add(event.session_id);
    }
  });

  it('adds nothing in a second run, and only the missing sessions if the second run has more', async () => {
    await write();
    const before = await rows('select * from aria_engine.chat_session_activity order by session_id');
    expect(await write({ until: new Date('2026-03-01T13:00:00.000Z') })).toEqual({
      sessions: 0,
      messages: 0,
      skipped: 60,
      namesDropped: 0,
    });
    expect(await rows('select * from aria_engine.chat_session_activity order by session_id')).toEqual(before);
    expect(await rows('select count(*)::int as events from aria_engine.session_events')).toEqual([{ events: 60 }]);
    expect(await write({ sessions: 70 })).toMatchObject({ sessions: 10, messages: 120, skipped: 60 });
  });

  it('writes no session that the sweeper marks as stalled', async () => {
    await write();
    const pool = createDatabase({ url: database.url, poolSize: 1, statementTimeoutMs: 30_000, onConnectionError: () => undefined });
    try {
      const batch = { size: 100, skip: [], lost: new AbortController().signal };
      expect(await stallSessions(pool, 300_000, batch)).toEqual({ taken: 0, failed: [], more: false });
    } finally {
      await pool.close();
    }
  });

  it('drops a key that another session holds', async () => {
    await client.query(
      `insert into aria_engine.chat_sessions (id, agent_id, key, kind, title) values (gen_random_uuid(), 'coder', 'agent:coder:main', 'MAIN', 'Mine')`,
    );
    expect(await write()).toMatchObject({ sessions: 60, namesDropped: 1 });
    expect(await rows(`select title from aria_engine.chat_sessions where key = 'agent:coder:main' and superseded_at is null`)).toEqual([
      { title: 'Mine' },
    ]);
  });

  it("does not use the default agent's main key", async () => {
    await write();
    expect(await rows(`select kind from aria_engine.chat_sessions where key = 'agent:main:main'`)).toEqual([]);
    expect(await rows(`select distinct kind from aria_engine.chat_sessions where kind = 'MAIN'`)).toEqual([{ kind: 'MAIN' }]);
  });

  it('does not write a session that was permanently deleted, and makes its children roots', async () => {
    const [parent] = [...generateSessions(OPTIONS)].flatMap(({ session }) => session.parentId ?? []);
    await client.query(`insert into aria_engine.session_tombstones (session_id, agent_id) values ($1, 'main')`, [parent]);
    expect(await write()).toMatchObject({ sessions: 59, skipped: 1 });
    const { rowCount } = await client.query('select from aria_engine.chat_sessions where id = $1 or parent_id = $1', [parent]);
    expect(rowCount).toBe(0);
  });
});
