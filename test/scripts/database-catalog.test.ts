import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compareCatalogs, describeCatalog } from '../../scripts/database-catalog.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
let client: pg.Client;

beforeEach(async () => {
  database = await createTestDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});

afterEach(async () => {
  await client.end();
  await database.close();
});

/** Runs the statement and returns the lines that it removed from and added to the description of the database. */
async function changesMadeBy(statement: string): Promise<{ removed: string[]; added: string[] }> {
  const before = await describeCatalog(client);
  await client.query(statement);
  const { onlyOne, onlyOther } = compareCatalogs(before, await describeCatalog(client));
  return { removed: onlyOne, added: onlyOther };
}

describe('describeCatalog', () => {
  it('leaves out the migration records and the objects of extensions, and lists the extensions themselves', async () => {
    const lines = await describeCatalog(client);
    expect(lines.filter(line => /_prisma_migrations|gin_trgm|similarity/.test(line) && !line.startsWith('index'))).toEqual([]);
    expect(lines).toContain('extension pg_trgm');
  });

  it.each([
    ['alter table aria_engine.chat_sessions add extra text', [], ['column aria_engine.chat_sessions.extra text']],
    [
      'alter table aria_engine.chat_sessions alter type set default $$x$$',
      ["column aria_engine.chat_sessions.type text not null default 'chat'::text"],
      ["column aria_engine.chat_sessions.type text not null default 'x'::text"],
    ],
    [
      'alter table aria_engine.chat_sessions alter label set not null',
      ['column aria_engine.chat_sessions.label text'],
      ['column aria_engine.chat_sessions.label text not null'],
    ],
    [
      'drop index aria_engine.chat_messages_branch_idx',
      ['index CREATE INDEX chat_messages_branch_idx ON aria_engine.chat_messages USING btree (session_id, "position") WHERE on_branch'],
      [],
    ],
    [
      'alter table aria_engine.event_log_state drop constraint event_log_state_one_row',
      ['constraint aria_engine.event_log_state event_log_state_one_row CHECK (singleton)'],
      [],
    ],
    ["create type aria_engine.mood as enum ('GOOD', 'BAD')", [], ["enum aria_engine.mood 'GOOD', 'BAD'"]],
  ])('lists the effect of: %s', async (statement, removed, added) => {
    expect(await changesMadeBy(statement)).toEqual({ removed, added });
  });
});
