import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Caller } from '../../../src/modules/caller.ts';
import type { MessageInput } from '../../../src/modules/message/message.input.ts';
import { appendMessage } from '../../../src/modules/message/message-append.service.ts';
import { useMutationApi } from '../session/mutation-api.ts';
import { batchingCaller } from './append-caller.ts';

const api = useMutationApi();
const { create } = api;

/** Appends a user message; resolves to its position. */
async function append(caller: Caller, sessionId: string, content: string, more: Partial<MessageInput> = {}): Promise<number | undefined> {
  const { messages } = await appendMessage(caller, { sessionId, message: { role: 'USER', content, ...more } });
  return messages[0]?.position;
}

/** The contents of a session's messages, in the order of their positions. */
async function contentsOf(sessionId: string): Promise<readonly string[]> {
  return (await api.messages(sessionId)).map(({ content }) => content);
}

/** The statements sent since the last `resetSql` that insert messages. */
function insertsSent(): number {
  return api.app.sql.filter(({ sql }) => sql.includes('insert into aria_engine.chat_messages')).length;
}

async function createSessions(count: number): Promise<readonly string[]> {
  return Promise.all(Array.from({ length: count }, async () => (await create()).sessionId));
}

/** Opens a transaction and locks the session's row. Returns the function that ends the transaction. */
async function lockRow(sessionId: string): Promise<() => Promise<pg.QueryResult>> {
  const client = await api.connect();
  onTestFinished(() => client.end());
  await client.query('begin');
  await client.query('select from aria_engine.chat_sessions where id = $1 for update', [sessionId]);
  return () => client.query('rollback');
}

describe('appends that arrive together', () => {
  it('take fewer statements than calls over HTTP, and are all written', async () => {
    const sessions = await createSessions(5);
    api.app.resetSql();
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        api.send<{ message: { position: number } }>(
          'appendMessage',
          { sessionId: sessions[index % 5], message: { role: 'USER', content: `${index}` } },
          'message { position }',
        ),
      ),
    );
    expect(insertsSent()).toBeLessThan(answers.length);
    const positions = answers.map(answer => answer.expectOk().appendMessage?.message.position);
    for (const [place, sessionId] of sessions.entries()) {
      const answered = positions.filter((_, index) => index % 5 === place);
      expect(answered.toSorted((a = 0, b = 0) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
      const stored = await contentsOf(sessionId);
      for (const [call, position = 0] of answered.entries()) expect(stored[position - 1]).toBe(`${call * 5 + place}`);
    }
  });

  it('take one statement if they arrive in one turn, and keep their order', async () => {
    const caller = batchingCaller(api.app);
    const [first = '', second = ''] = await createSessions(2);
    api.app.resetSql();
    const calls = [first, second, first, first, second].map((sessionId, index) => append(caller, sessionId, `${index}`));
    expect(await Promise.all(calls)).toEqual([1, 1, 2, 3, 2]);
    expect(api.app.sql).toHaveLength(1);
    expect(await contentsOf(first)).toEqual(['0', '2', '3']);
    expect(await contentsOf(second)).toEqual(['1', '4']);
  });

  it('take several statements if they have much text', async () => {
    const caller = batchingCaller(api.app);
    const sessions = await createSessions(8);
    const text = 'x'.repeat(100_000);
    api.app.resetSql();
    await Promise.all(sessions.map(sessionId => append(caller, sessionId, text)));
    expect(api.app.sql).toHaveLength(2);
    for (const sessionId of sessions) expect(await contentsOf(sessionId)).toEqual([text]);
  });
});

describe('a session whose row another transaction has locked', () => {
  it('delays only its own appends, which are written in their order when the lock is released', async () => {
    const caller = batchingCaller(api.app);
    const [locked = '', other = ''] = await createSessions(2);
    const unlock = await lockRow(locked);
    let written = 0;
    const appendLocked = async (content: string) => {
      const position = await append(caller, locked, content);
      written += 1;
      return position;
    };
    const delayed = [appendLocked('a'), appendLocked('b')];
    expect(await Promise.all([append(caller, other, 'first'), append(caller, other, 'second')])).toEqual([1, 2]);
    delayed.push(appendLocked('c'));
    expect(await append(caller, other, 'third')).toBe(3);
    delayed.push(appendLocked('d'));
    expect(await append(caller, other, 'fourth')).toBe(4);
    expect(written).toBe(0);
    expect(await contentsOf(locked)).toEqual([]);
    await unlock();
    expect(await Promise.all(delayed)).toEqual([1, 2, 3, 4]);
    expect(await contentsOf(locked)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('refuses the appends that waited if the transaction ends the session', async () => {
    const caller = batchingCaller(api.app);
    const [locked = '', other = ''] = await createSessions(2);
    const client = await api.connect();
    onTestFinished(() => client.end());
    await client.query('begin');
    await client.query(`update aria_engine.chat_sessions set status = 'COMPLETED', ended_at = now() where id = $1`, [locked]);
    const delayed = Promise.allSettled([append(caller, locked, 'a'), append(caller, locked, 'b')]);
    expect(await append(caller, other, 'x')).toBe(1);
    await client.query('commit');
    for (const outcome of await delayed) expect(outcome).toMatchObject({ reason: { code: 'SESSION_ENDED' } });
    expect(await contentsOf(locked)).toEqual([]);
  });
});

describe('an append that Postgres rejects', () => {
  // The largest date of JavaScript. Postgres does not read its six-digit year; the API's DateTime has only four digits.
  const bad = { createdAt: new Date(8.64e15) };

  it('fails alone: the other appends of its batch are written, those of its session in their order', async () => {
    const caller = batchingCaller(api.app);
    const [first = '', second = ''] = await createSessions(2);
    const outcomes = await Promise.allSettled([
      append(caller, first, 'a'),
      append(caller, first, 'rejected', bad),
      append(caller, second, 'b'),
      append(caller, first, 'c'),
    ]);
    expect(outcomes).toMatchObject([{ value: 1 }, { status: 'rejected' }, { value: 1 }, { value: 2 }]);
    expect(await contentsOf(first)).toEqual(['a', 'c']);
    expect(await contentsOf(second)).toEqual(['b']);
  });

  it('fails if it is the only one, and does not hinder later ones', async () => {
    const caller = batchingCaller(api.app);
    const [sessionId = ''] = await createSessions(1);
    api.app.resetSql();
    await expect(append(caller, sessionId, 'rejected', bad)).rejects.toThrow();
    expect(api.app.sql).toHaveLength(1);
    expect(await append(caller, sessionId, 'a')).toBe(1);
  });
});

describe('appends with idempotency keys or parents', () => {
  it('are each written once beside batches', async () => {
    const caller = batchingCaller(api.app);
    const [sessionId = '', other = ''] = await createSessions(2);
    const root = await api.append(sessionId, { content: 'root' });
    const calls = Array.from({ length: 10 }, (_, index) => {
      const keyed = { sessionId, idempotencyKey: randomUUID(), message: { role: 'USER', content: `keyed ${index}` } } as const;
      return [
        append(caller, sessionId, `plain ${index}`),
        append(caller, sessionId, `child ${index}`, { parentId: root.id }),
        append(caller, other, `other ${index}`),
        ...[1, 2].map(async () => (await appendMessage(caller, keyed)).messages[0]?.position),
      ];
    });
    const positions = await Promise.all(calls.map(each => Promise.all(each)));
    const stored = await api.messages(sessionId);
    for (const [index, [plain, child, , keyed, repeated]] of positions.entries()) {
      expect(repeated).toBe(keyed);
      expect([plain, child, keyed].map(position => stored.find(message => message.position === position)?.content)).toEqual([
        `plain ${index}`,
        `child ${index}`,
        `keyed ${index}`,
      ]);
      expect(stored.find(message => message.position === child)?.parent).toEqual({ position: 1 });
    }
    expect(stored.map(({ position }) => position)).toEqual(Array.from({ length: 31 }, (_, index) => index + 1));
    expect(await contentsOf(other)).toEqual(Array.from({ length: 10 }, (_, index) => `other ${index}`));
  });
});
