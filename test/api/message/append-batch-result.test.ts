import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createRandomSource } from '../../../scripts/seed/random-source.ts';
import { DomainError } from '../../../src/errors.ts';
import type { Caller } from '../../../src/modules/caller.ts';
import { appendMessages } from '../../../src/modules/message/message-append.service.ts';
import { LOCAL_VIEWER } from '../../../src/modules/viewer/viewer.rules.ts';
import { useMutationApi } from '../session/mutation-api.ts';
import { batchingCaller } from './append-caller.ts';
import { type RandomCall, randomCalls, randomSession, storeCopies, VISIBLE_AGENT } from './random-appends.ts';

const api = useMutationApi();

const SESSIONS = 8;
const CALLS = 16;
const ROUNDS = 40;
const MINUTES_10 = 600_000;

type Row = Readonly<Record<string, unknown>>;

/** A copy of the sessions: the indexes of those that exist, and an id that does not. */
interface Copy {
  readonly ids: readonly string[];
  readonly unknownId: string;
}

const idOf = ({ session }: RandomCall, { ids, unknownId }: Copy) => (session === 'unknown' ? unknownId : (ids[session] ?? ''));

/** Times of the test become `now`, and UUIDs become the same text, so that two copies can be compared. */
function comparable(value: unknown): unknown {
  const text = JSON.stringify(value, (key, each: unknown) => {
    if (key === 'idleMs' && typeof each === 'number') return each < MINUTES_10 ? 'short' : 'long';
    if (typeof each !== 'string' || !/^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/.test(each)) return each;
    return Math.abs(Date.parse(each) - Date.now()) < MINUTES_10 ? 'now' : new Date(each).toISOString();
  });
  return JSON.parse(text.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'uuid'));
}

/** All that appends may change, session by session. */
async function storedState({ ids }: Copy): Promise<unknown> {
  const read = (table: string, idColumn: string, order: string) =>
    api.rows<Row>(
      `select (select coalesce(jsonb_agg(to_jsonb(x) order by ${order}), '[]') from aria_engine.${table} x where ${idColumn} = wanted.id) as found
      from unnest($1::uuid[]) with ordinality wanted(id, place) order by place`,
      [ids],
    );
  const events = (await read('session_events', 'session_id', 'x.id')).map(({ found }) =>
    (found as readonly Row[]).map(({ agent_id, type, payload }) => ({ agent_id, type, payload })),
  );
  return comparable({
    sessions: await read('chat_sessions', 'id', 'x.id'),
    activity: await read('chat_session_activity', 'session_id', 'session_id'),
    messages: await read('chat_messages', 'session_id', 'x.position'),
    events,
  });
}

/** The answer of a call, or its error. */
async function answerOf(caller: Caller, call: RandomCall, copy: Copy): Promise<unknown> {
  try {
    return comparable(await appendMessages(caller, { sessionId: idOf(call, copy), messages: call.messages }));
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    return comparable({ code: error.code, message: error.message, details: error.details });
  }
}

async function answersInTurn(caller: Caller, calls: readonly RandomCall[], copy: Copy): Promise<readonly unknown[]> {
  const answers: unknown[] = [];
  for (const call of calls) answers.push(await answerOf(caller, call, copy));
  return answers;
}

describe('random appends in one batch', () => {
  it('have the same answers and leave the same rows as one after another', async () => {
    const together = batchingCaller(api.app, { ...LOCAL_VIEWER, agentIds: [VISIBLE_AGENT] });
    const inTurn = { ...together, appendQueue: null };
    const kinds = new Set<string>();
    for (let round = 0; round < ROUNDS; round += 1) {
      const random = createRandomSource(20261201, round);
      const sessions = Array.from({ length: SESSIONS }, () => randomSession(random));
      const calls = randomCalls(random, { calls: CALLS, sessions: SESSIONS });
      const store = async (): Promise<Copy> => ({ ids: await storeCopies(sessions, api.rows), unknownId: randomUUID() });
      const [first, second] = [await store(), await store()];
      api.app.resetSql();
      const answers = await Promise.all(calls.map(call => answerOf(together, call, first)));
      const invisible = calls.filter(({ session }) => session === 'unknown' || sessions[session]?.session.agent_id !== VISIBLE_AGENT);
      expect(api.app.sql, `round ${round}`).toHaveLength(1 + invisible.length);
      expect(answers, `round ${round}`).toEqual(await answersInTurn(inTurn, calls, second));
      const state = await storedState(first);
      expect(state, `round ${round}`).toEqual(await storedState(second));
      for (const [, kind = ''] of JSON.stringify([answers, state]).matchAll(/"(?:code|type|to|from|trashed)":("?\w+)/g)) kinds.add(kind);
    }
    // The random appends include every outcome.
    for (const kind of ['"SESSION_NOT_FOUND', '"SESSION_ENDED', 'true', '"MESSAGE_ADDED', '"STATUS_CHANGED', '"WORKING', '"FAILED']) {
      expect(kinds).toContain(kind);
    }
  });
});
