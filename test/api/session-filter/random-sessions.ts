import type { RandomSource } from '../../../scripts/seed/random-source.ts';
import { type FilterInput, TEXT_FIELDS, TIME_FIELDS } from './reference-filter.ts';
import { NULLABLE_TEXTS, type StoredSession, storedSession } from './stored-session.ts';

/** A few texts, so that values repeat. They contain special characters of LIKE patterns, SQL and JSON, and letters with special case rules. */
const TEXTS = [
  'alpha',
  'ALPHA beta',
  'Beta',
  '100%',
  '100 percent',
  'a_b',
  'axb',
  'a\\b',
  "it's",
  '"quoted"',
  'ПРИВЕТ, мир',
  'привет',
  'Straße',
  'STRASSE',
  'İstanbul',
  'istanbul',
  'ΟΔΟΣ',
  'οδός',
  'éclair',
  'ECLAIR',
  '日本語',
  '😀 smile',
  ' ',
] as const satisfies readonly [string, ...string[]];
const FRAGMENTS = [
  '',
  'a',
  'A',
  '%',
  '_',
  '\\',
  "'",
  '"',
  'привет',
  'ПРИВ',
  'ss',
  'ß',
  'SS',
  'i',
  'İ',
  'οδ',
  'ΟΔΟΣ',
  'É',
  '本',
  '😀',
  'zzz',
] as const;
const TAGS = ['red', 'Red', 'green', 'a,b', '{}', '"'] as const;
const KINDS = ['MAIN', 'DIRECT', 'GROUP', 'CRON', 'OTHER'] as const;
const STATUSES = ['SPAWNING', 'ACTIVE', 'WORKING', 'STALLED', 'COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'] as const;
const PRIORITIES = ['LOW', 'NORMAL', 'HIGH', 'CRITICAL'] as const;
const METADATA = [
  {},
  { a: 1 },
  { a: 1.5, b: null },
  { a: [1, 2, { c: 'x' }] },
  { a: { b: { c: true } } },
  { 'ключ "x"': ['ä', 'ä'] },
  { __proto__x: 'p', a: '1' },
] as const;
const METADATA_PARTS = [
  ...METADATA,
  { a: [2] },
  { a: [{ c: 'x' }] },
  { a: [[1]] },
  { a: { b: {} } },
  { b: null },
  { a: [] },
  { a: '1', z: 0 },
] as const;

const START = Date.UTC(2026, 0, 1);
const MINUTE = 60_000;

/** Returns one of a few instants, so that values repeat and equal the bounds of filters. */
function randomInstant(random: RandomSource): Date {
  return new Date(START + random.integer(0, 12) * MINUTE);
}

function randomUuid(random: RandomSource): string {
  const hex = Array.from({ length: 32 }, () => random.integer(0, 15).toString(16)).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function maybe<Value>(random: RandomSource, probability: number, value: () => Value): Value | null {
  return random.chance(probability) ? value() : null;
}

function randomList<Value>(random: RandomSource, choices: readonly [Value, ...Value[]], max: number): Value[] {
  return Array.from({ length: random.integer(0, max) }, () => random.pick(choices));
}

/** Builds sessions in which every column is sometimes null and sometimes equal to that of another session. */
export function randomSessions(random: RandomSource, count: number): StoredSession[] {
  const sessions: StoredSession[] = [];
  const labels = new Set<string>();
  for (let index = 0; index < count; index += 1) {
    const agentId = random.pick(['main', 'coder', 'ops']);
    const label = maybe(random, 0.4, () => random.pick(TEXTS));
    // A label must be unique per agent.
    const uniqueLabel = label === null || labels.has(`${agentId} ${label}`) ? null : label;
    labels.add(`${agentId} ${uniqueLabel}`);
    const earlier = sessions[random.integer(0, sessions.length)];
    sessions.push(
      storedSession({
        ...Object.fromEntries(NULLABLE_TEXTS.map(field => [field, maybe(random, 0.5, () => random.pick(TEXTS))])),
        id: randomUuid(random),
        agentId,
        key: maybe(random, 0.6, () => `agent:${agentId}:${random.pick(TEXTS)}:${index}`),
        kind: random.pick(KINDS),
        type: random.pick(['chat', 'cron', 'Chat']),
        status: random.pick(STATUSES),
        title: random.pick(TEXTS),
        label: uniqueLabel,
        displayName: maybe(random, 0.2, () => random.pick(TEXTS)),
        subject: maybe(random, 0.2, () => random.pick(TEXTS)),
        tags: randomList(random, TAGS, 3),
        priority: random.pick(PRIORITIES),
        task: maybe(random, 0.2, () => random.pick(TEXTS)),
        parentId: maybe(random, 0.3, () => earlier?.id ?? null),
        metadata: random.pick(METADATA),
        createdAt: randomInstant(random),
        startedAt: randomInstant(random),
        updatedAt: randomInstant(random),
        lastActivityAt: randomInstant(random),
        endedAt: maybe(random, 0.5, () => randomInstant(random)),
        archivedAt: maybe(random, 0.3, () => randomInstant(random)),
        pinnedAt: maybe(random, 0.3, () => randomInstant(random)),
        supersededAt: maybe(random, 0.2, () => randomInstant(random)),
        deletedAt: maybe(random, 0.2, () => randomInstant(random)),
        totalTokens: random.pick([0, 1, 5, 2 ** 40]),
        messages: randomList(random, TEXTS, 3),
      }),
    );
  }
  return sessions;
}

/** Builds a filter of one to three fields, with nested filters down to `depth`. */
export function randomFilter(random: RandomSource, sessions: readonly StoredSession[], depth: number): FilterInput {
  const filter: Record<string, unknown> = {};
  const fields = random.integer(1, 3);
  for (let index = 0; index < fields; index += 1) Object.assign(filter, randomField(random, sessions, depth));
  return filter;
}

function randomField(random: RandomSource, sessions: readonly StoredSession[], depth: number): FilterInput {
  const nested = () => randomFilter(random, sessions, depth - 1);
  const list = () => Array.from({ length: random.integer(0, 3) }, nested);
  if (depth > 0 && random.chance(0.5))
    return random.pick<() => FilterInput>([() => ({ and: list() }), () => ({ or: list() }), () => ({ not: nested() })])();
  const flag = random.chance(0.5);
  return random.pick<() => FilterInput>([
    () => ({ id: randomSet(random, () => randomId(random, sessions)) }),
    () => ({ kind: randomSet(random, () => random.pick(KINDS)) }),
    () => ({ status: randomSet(random, () => random.pick(STATUSES)) }),
    () => ({ priority: randomSet(random, () => random.pick(PRIORITIES)) }),
    () => randomTextField(random, sessions),
    () => randomTextField(random, sessions),
    () => randomTextField(random, sessions),
    () => ({ [random.pick(TIME_FIELDS)]: randomRange(random) }),
    () => ({ [random.pick(TIME_FIELDS)]: randomRange(random) }),
    () => ({ tags: randomList(random, TAGS, 2) }),
    () => ({ parentId: randomId(random, sessions) }),
    () => ({ root: flag }),
    () => ({ metadata: random.pick(METADATA_PARTS) }),
    () => ({ search: random.pick(FRAGMENTS) }),
    () => ({ archived: flag }),
    () => ({ pinned: flag }),
    () => ({ superseded: flag }),
    () => ({ trashed: flag }),
    () => ({ empty: flag }),
  ])();
}

function randomTextField(random: RandomSource, sessions: readonly StoredSession[]): FilterInput {
  const field = random.pick(TEXT_FIELDS);
  const value = () => sessions[random.integer(0, sessions.length - 1)]?.[field] ?? random.pick(TEXTS);
  return {
    [field]: random.pick<() => object>([
      () => randomSet(random, value),
      () => ({ contains: random.pick(FRAGMENTS) }),
      () => ({ startsWith: [...value()].slice(0, random.integer(0, 7)).join('') }),
      () => ({ isNull: random.chance(0.5) }),
      () => ({ isNull: random.chance(0.5), notIn: [value()], contains: random.pick(FRAGMENTS), eq: null }),
    ])(),
  };
}

function randomSet(random: RandomSource, value: () => string): object {
  const values = () => Array.from({ length: random.integer(0, 3) }, value);
  return random.pick<() => object>([() => ({ eq: value() }), () => ({ in: values() }), () => ({ notIn: values() })])();
}

/** Returns the id of a session as global id or bare UUID, or an id that matches no session. */
function randomId(random: RandomSource, sessions: readonly StoredSession[]): string {
  const { id } = random.pick(sessions as readonly [StoredSession, ...StoredSession[]]);
  const global = (type: string) => Buffer.from(`${type}:${id}`).toString('base64');
  return random.pick([id, id, id.toUpperCase(), global('Session'), global('Agent'), 'nonsense', randomUuid(random)]);
}

function randomRange(random: RandomSource): object {
  const from = randomInstant(random).toISOString();
  const before = randomInstant(random).toISOString();
  return random.pick<object>([{ from }, { before }, { from, before }, { from: null, before }]);
}
