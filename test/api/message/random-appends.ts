import { randomUUID } from 'node:crypto';
import type { RandomSource } from '../../../scripts/seed/random-source.ts';
import type { MessageInput } from '../../../src/modules/message/message.input.ts';
import type { SessionStatus } from '../../../src/modules/session/session.rules.ts';

/** The agent whose sessions the viewer of the random appends may see. */
export const VISIBLE_AGENT = 'visible';

/** The state of a session before the appends, as the columns of its two rows; without its id. */
export interface InitialSession {
  readonly session: Readonly<Record<string, unknown>>;
  readonly activity: Readonly<Record<string, unknown>>;
}

/** One call of appendMessages. */
export interface RandomCall {
  /** The index of the session; `unknown` for one that does not exist. */
  readonly session: number | 'unknown';
  readonly messages: readonly MessageInput[];
}

const EARLY = '2020-02-03T04:05:06.007Z';
const LATE = '2099-02-03T04:05:06.007Z';

const OPEN: readonly [SessionStatus, ...SessionStatus[]] = ['ACTIVE', 'SPAWNING', 'STALLED', 'WORKING'];
const ENDED: readonly [SessionStatus, ...SessionStatus[]] = ['COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'];

/** A session of any kind that appends treat differently. */
export function randomSession(random: RandomSource): InitialSession {
  const isOpen = random.chance(0.85);
  const length = random.integer(0, 4);
  const agentId = random.chance(0.9) ? VISIBLE_AGENT : 'other';
  const maybe = <Value>(value: Value, probability = 0.25) => (random.chance(probability) ? value : null);
  return {
    session: {
      agent_id: agentId,
      kind: 'OTHER',
      status: random.pick(isOpen ? OPEN : ENDED),
      status_reason: maybe('the reason before'),
      ended_at: maybe(EARLY, isOpen ? 0 : 1),
      deleted_at: maybe(EARLY, 0.1),
      title: 'the title before',
      given_title: maybe('given'),
      display_name: maybe('named'),
      subject: maybe('about'),
      derived_title: maybe('derived'),
      token_limit: maybe(random.integer(100, 400), 0.5),
      version: random.integer(1, 9),
      compacted_through: random.integer(0, 6),
      started_at: EARLY,
      created_at: EARLY,
    },
    activity: {
      agent_id: agentId,
      updated_at: EARLY,
      last_activity_at: random.chance(0.8) ? EARLY : LATE,
      last_message_at: length === 0 ? null : random.pick([EARLY, LATE]),
      message_count: length,
      next_position: length + 1,
      leaf_position: length === 0 ? null : random.integer(1, length),
      input_tokens: random.integer(0, 50),
      total_tokens: random.weighted([
        [50, 8],
        [400, 1],
        [Number.MAX_SAFE_INTEGER - 50, 1],
      ]),
      cost_nano_usd: random.integer(0, 1_000_000_000),
    },
  };
}

function randomMessage(random: RandomSource, name: string): MessageInput {
  const text = random.weighted([
    [name, 6],
    [' \n ', 1],
    ['', 1],
    [`${name} ${'with many words '.repeat(8)}`, 1],
  ]);
  const usage = random.weighted<MessageInput['usage']>([
    [null, 4],
    [{}, 1],
    [{ inputTokens: 0, costUsd: 0.000_000_3 }, 1],
    [{ inputTokens: random.integer(1, 90), outputTokens: 5, costUsd: 0.25 }, 5],
    [{ cacheReadTokens: 30, cacheWriteTokens: 2, totalTokens: random.integer(0, 200) }, 2],
    [{ totalTokens: Number.MAX_SAFE_INTEGER }, 1],
  ]);
  return {
    role: random.pick(['USER', 'ASSISTANT', 'TOOL']),
    content: text,
    usage,
    createdAt: random.weighted([
      [null, 6],
      [new Date(EARLY), 1],
      [new Date(LATE), 1],
    ]),
    metadata: random.chance(0.2) ? { name } : null,
    parts: random.chance(0.2) ? [{ thinking: { text: `about ${name}` } }] : null,
    model: random.chance(0.2) ? 'a model' : null,
    latencyMs: random.chance(0.2) ? random.integer(0, 1_000) : null,
  };
}

/** Calls that append one or a few messages each to some of the sessions. */
export function randomCalls(random: RandomSource, { calls, sessions }: { calls: number; sessions: number }): readonly RandomCall[] {
  return Array.from({ length: calls }, (_, call) => ({
    session: random.chance(0.05) ? 'unknown' : random.integer(0, sessions - 1),
    messages: Array.from({ length: random.chance(0.6) ? 1 : random.integer(2, 4) }, (_unused, place) =>
      randomMessage(random, `message ${call}/${place}`),
    ),
  }));
}

/** Inserts a copy of each session. Returns the ids. */
export async function storeCopies(
  sessions: readonly InitialSession[],
  rows: (sql: string, parameters: readonly unknown[]) => Promise<unknown>,
): Promise<readonly string[]> {
  const ids = sessions.map(() => randomUUID());
  const insert = (table: string, records: readonly Readonly<Record<string, unknown>>[]) => {
    const names = Object.keys(records[0] ?? {}).join(', ');
    const sql = `insert into aria_engine.${table} (${names}) select ${names} from jsonb_populate_recordset(null::aria_engine.${table}, $1)`;
    return rows(sql, [JSON.stringify(records)]);
  };
  await insert(
    'chat_sessions',
    sessions.map(({ session }, index) => ({ id: ids[index], ...session })),
  );
  await insert(
    'chat_session_activity',
    sessions.map(({ activity }, index) => ({ session_id: ids[index], ...activity })),
  );
  return ids;
}
