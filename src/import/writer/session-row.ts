import { Prisma } from '../../generated/prisma/client.ts';
import type { SessionStatus } from '../../modules/session/session.rules.ts';
import type { SessionKind } from '../../modules/session-key/session-key.rules.ts';
import type { UsageAmounts } from '../../modules/usage/usage.rules.ts';
import type { Executor, Sql } from '../../postgres/database.ts';
import type { JsonObject } from '../source.ts';
import { hashValue } from './field-merge.ts';

/** What of a session an import reads and may change. */
export interface SessionRow extends UsageAmounts {
  readonly id: string;
  readonly agentId: string;
  readonly key: string | null;
  readonly kind: SessionKind;
  readonly type: string;
  readonly status: SessionStatus;
  readonly statusReason: string | null;
  readonly title: string;
  readonly givenTitle: string | null;
  readonly derivedTitle: string | null;
  readonly label: string | null;
  readonly displayName: string | null;
  readonly subject: string | null;
  readonly category: string | null;
  readonly channel: string | null;
  readonly model: string | null;
  readonly modelProvider: string | null;
  readonly settings: JsonObject;
  readonly settingsExtra: JsonObject;
  readonly origin: JsonObject | null;
  readonly delivery: JsonObject | null;
  readonly metadata: JsonObject;
  readonly parentId: string | null;
  readonly compactionCount: number;
  readonly compactedThrough: number;
  readonly version: number;
  readonly createdAt: Date;
  readonly startedAt: Date;
  readonly endedAt: Date | null;
  readonly archivedAt: Date | null;
  readonly pinnedAt: Date | null;
  readonly supersededAt: Date | null;
  readonly deletedAt: Date | null;
  readonly updatedAt: Date;
  readonly lastActivityAt: Date;
  readonly lastMessageAt: Date | null;
  readonly messageCount: number;
  readonly nextPosition: number;
  readonly leafPosition: number | null;
  readonly contextUsed: number | null;
}

type ColumnType = 'text' | 'uuid' | 'int' | 'bigint' | 'timestamptz' | 'jsonb' | 'aria_engine.session_kind' | 'aria_engine.session_status';

/** Columns of chat_sessions an import may change, by field. */
const SESSION_COLUMNS = {
  key: ['key', 'text'],
  kind: ['kind', 'aria_engine.session_kind'],
  type: ['type', 'text'],
  status: ['status', 'aria_engine.session_status'],
  statusReason: ['status_reason', 'text'],
  title: ['title', 'text'],
  givenTitle: ['given_title', 'text'],
  derivedTitle: ['derived_title', 'text'],
  label: ['label', 'text'],
  displayName: ['display_name', 'text'],
  subject: ['subject', 'text'],
  category: ['category', 'text'],
  channel: ['channel', 'text'],
  model: ['model', 'text'],
  modelProvider: ['model_provider', 'text'],
  settings: ['settings', 'jsonb'],
  settingsExtra: ['settings_extra', 'jsonb'],
  origin: ['origin', 'jsonb'],
  delivery: ['delivery', 'jsonb'],
  metadata: ['metadata', 'jsonb'],
  parentId: ['parent_id', 'uuid'],
  compactionCount: ['compaction_count', 'int'],
  compactedThrough: ['compacted_through', 'bigint'],
  version: ['version', 'int'],
  createdAt: ['created_at', 'timestamptz'],
  startedAt: ['started_at', 'timestamptz'],
  endedAt: ['ended_at', 'timestamptz'],
  archivedAt: ['archived_at', 'timestamptz'],
  pinnedAt: ['pinned_at', 'timestamptz'],
  supersededAt: ['superseded_at', 'timestamptz'],
} as const satisfies Partial<Record<keyof SessionRow, readonly [string, ColumnType]>>;

/** Columns of chat_session_activity an import may change, by field. */
const ACTIVITY_COLUMNS = {
  updatedAt: ['updated_at', 'timestamptz'],
  lastActivityAt: ['last_activity_at', 'timestamptz'],
  lastMessageAt: ['last_message_at', 'timestamptz'],
  messageCount: ['message_count', 'int'],
  nextPosition: ['next_position', 'bigint'],
  leafPosition: ['leaf_position', 'bigint'],
  inputTokens: ['input_tokens', 'bigint'],
  outputTokens: ['output_tokens', 'bigint'],
  cacheReadTokens: ['cache_read_tokens', 'bigint'],
  cacheWriteTokens: ['cache_write_tokens', 'bigint'],
  totalTokens: ['total_tokens', 'bigint'],
  costNanoUsd: ['cost_nano_usd', 'bigint'],
  contextUsed: ['context_used', 'bigint'],
} as const satisfies Partial<Record<keyof SessionRow, readonly [string, ColumnType]>>;

/** A field of chat_sessions that an import may change. */
export type SessionColumn = keyof typeof SESSION_COLUMNS;

const SESSION_FIELDS = Object.keys(SESSION_COLUMNS) as readonly SessionColumn[];
const ACTIVITY_FIELDS = Object.keys(ACTIVITY_COLUMNS) as readonly (keyof typeof ACTIVITY_COLUMNS)[];

const SELECTED = [
  's.id',
  's.agent_id as "agentId"',
  's.deleted_at as "deletedAt"',
  ...SESSION_FIELDS.map(field => `s.${SESSION_COLUMNS[field][0]} as "${field}"`),
  ...ACTIVITY_FIELDS.map(field => `a.${ACTIVITY_COLUMNS[field][0]} as "${field}"`),
].join(', ');

/** A row as Postgres sends it: columns of 64 bits are BigInt. */
type Sent<Row> = {
  readonly [Name in keyof Row]: Row[Name] extends number
    ? number | bigint
    : Row[Name] extends number | null
      ? number | bigint | null
      : Row[Name];
};

function toRow(sent: Sent<SessionRow>): SessionRow {
  const numberOrNull = (value: number | bigint | null) => (value === null ? null : Number(value));
  return {
    ...sent,
    version: Number(sent.version),
    compactionCount: Number(sent.compactionCount),
    compactedThrough: Number(sent.compactedThrough),
    messageCount: Number(sent.messageCount),
    nextPosition: Number(sent.nextPosition),
    leafPosition: numberOrNull(sent.leafPosition),
    contextUsed: numberOrNull(sent.contextUsed),
  };
}

/** A session as it stands; null where there is none. `lock` holds off every other writer until the transaction ends. */
export async function readSessionRow(executor: Executor, id: string, { lock }: { readonly lock: boolean }): Promise<SessionRow | null> {
  // Locked first: a statement that waited for the lock gives the activity as it was before the wait.
  if (lock) await executor.rows(Prisma.sql`select from aria_engine.chat_sessions where id = ${id}::uuid for no key update`);
  const [row] = await executor.rows<Sent<SessionRow>>(Prisma.sql`
    select ${Prisma.raw(SELECTED)} from aria_engine.chat_sessions s
      join aria_engine.chat_session_activity a on a.session_id = s.id where s.id = ${id}::uuid`);
  return row === undefined ? null : toRow(row);
}

/** A session that holds nothing yet. */
export function emptySessionRow(id: string, agentId: string, now: Date): SessionRow {
  const nothing = {
    key: null,
    statusReason: null,
    givenTitle: null,
    derivedTitle: null,
    label: null,
    displayName: null,
    subject: null,
    category: null,
    channel: null,
    model: null,
    modelProvider: null,
    origin: null,
    delivery: null,
    parentId: null,
    endedAt: null,
    archivedAt: null,
    pinnedAt: null,
    supersededAt: null,
    deletedAt: null,
    lastMessageAt: null,
    leafPosition: null,
    contextUsed: null,
  };
  const tokens = { inputTokens: 0n, outputTokens: 0n, cacheReadTokens: 0n, cacheWriteTokens: 0n, totalTokens: 0n, costNanoUsd: 0n };
  const counts = { compactionCount: 0, compactedThrough: 0, version: 1, messageCount: 0, nextPosition: 1 };
  const times = { createdAt: now, startedAt: now, updatedAt: now, lastActivityAt: now };
  const texts = { kind: 'OTHER', type: 'chat', status: 'ACTIVE', title: '' } as const;
  return { id, agentId, ...nothing, ...tokens, ...counts, ...times, ...texts, settings: {}, settingsExtra: {}, metadata: {} };
}

/** A session about to be written: `updatedAt` is now, and never goes back where another clock is ahead. */
export function stamped(row: SessionRow, now: Date): SessionRow {
  return now > row.updatedAt ? { ...row, updatedAt: now } : row;
}

/** Makes the rows of an empty session; false where the id is taken, once whoever takes it has committed. */
export async function insertSessionRow(executor: Executor, row: SessionRow): Promise<boolean> {
  const inserted = await executor.rows(Prisma.sql`
    with session as (
      insert into aria_engine.chat_sessions (id, agent_id, kind, title)
      values (${row.id}::uuid, ${row.agentId}, ${row.kind}::aria_engine.session_kind, ${row.title})
      on conflict (id) do nothing returning id
    )
    insert into aria_engine.chat_session_activity (session_id, agent_id) select id, ${row.agentId} from session returning session_id`);
  return inserted.length === 1;
}

/** Writes a session as it shall stand, under its lock; `externalId` is its id at the source where that is no UUID. */
export async function updateSessionRow(executor: Executor, row: SessionRow, externalId: string | null): Promise<void> {
  const set = assignments(row, SESSION_COLUMNS, SESSION_FIELDS);
  await executor.rows(Prisma.sql`
    update aria_engine.chat_sessions set external_id = coalesce(external_id, ${externalId}), ${set} where id = ${row.id}::uuid`);
  await updateActivityRow(executor, row);
}

/** Writes only what moves with messages. */
export async function updateActivityRow(executor: Executor, row: SessionRow): Promise<void> {
  const listed = row.deletedAt === null && row.supersededAt === null;
  const set = assignments(row, ACTIVITY_COLUMNS, ACTIVITY_FIELDS);
  await executor.rows(Prisma.sql`
    update aria_engine.chat_session_activity set listed = ${listed}, ${set} where session_id = ${row.id}::uuid`);
}

function assignments<Field extends keyof SessionRow>(
  row: SessionRow,
  columns: Readonly<Record<Field, readonly [string, ColumnType]>>,
  fields: readonly Field[],
): Sql {
  const assigned = fields.map(field => {
    const [column, type] = columns[field];
    return Prisma.sql`${Prisma.raw(column)} = ${toParameter(row[field], type)}::${Prisma.raw(type)}`;
  });
  return Prisma.join(assigned, ', ');
}

function toParameter(value: unknown, type: ColumnType): unknown {
  if (value === null) return null;
  if (type === 'jsonb') return JSON.stringify(value);
  return typeof value === 'bigint' ? String(value) : value;
}

/** Whether no column of chat_sessions differs; those of chat_session_activity may. */
export function isSameSession(one: SessionRow, other: SessionRow): boolean {
  return SESSION_FIELDS.every(field => hashValue(one[field]) === hashValue(other[field]));
}

/** Whether nothing differs that moves with messages, `updatedAt` aside. */
export function isSameActivity(one: SessionRow, other: SessionRow): boolean {
  return ACTIVITY_FIELDS.every(field => field === 'updatedAt' || one[field]?.valueOf() === other[field]?.valueOf());
}
