import { expect, it } from 'vitest';
import { summarizeStatement } from '../../../src/postgres/tracing.ts';

it.each([
  ['select 1', 'SELECT'],
  ['/*prepared*/ select s.id from aria_engine.chat_sessions s where s.id = $1', 'SELECT chat_sessions'],
  [
    'select * from aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id',
    'SELECT chat_sessions chat_session_activity',
  ],
  [
    `with locked as (select id from aria_engine.chat_sessions where id = $1 for no key update), m as (
       insert into aria_engine.chat_messages (id) values ($2) returning id)
     update aria_engine.chat_session_activity a set x = 1 from m where m.id = a.id`,
    'SELECT chat_sessions INSERT chat_messages UPDATE chat_session_activity',
  ],
  ['insert into aria_engine.api_keys values ($1::aria_engine.api_scope[]) on conflict (id) do update set x = 1', 'INSERT api_keys'],
  ['delete from only aria_engine.chat_messages m using aria_engine.chat_sessions s', 'DELETE chat_messages SELECT chat_sessions'],
  ["select 'secret' from aria_engine.chat_sessions", 'SELECT chat_sessions'],
  ['-- a word\nlock table x', 'LOCK'],
  ['', 'SQL'],
])('summarizeStatement summarizes %j as %j', (sql, summary) => {
  expect(summarizeStatement(sql)).toBe(summary);
});

it('summarizeStatement returns at most 255 characters', () => {
  const sql = Array.from({ length: 100 }, (_, n) => `from aria_engine.table_number_${n}`).join(' ');
  expect(summarizeStatement(sql)).toHaveLength(255);
});
