import type { ClientBase } from 'pg';
import type { SessionStatus } from '../../modules/session/session.rules.ts';
import type { SessionKind } from '../../modules/session-key/session-key.rules.ts';
import type { UsageAmounts } from '../../modules/usage/usage.rules.ts';
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

/** 64-bit integers as the driver gives them: text. */
type Sent<Row> = {
  readonly [Name in keyof Row]: Row[Name] extends bigint ? string : Row[Name] extends number ? number | string : Row[Name];
};

function toRow(
  sent: Sent<SessionRow> & { readonly leafPosition: string | number | null; readonly contextUsed: string | number | null },
): SessionRow {
  const numberOrNull = (value: string | number | null) => (value === null ? null : Number(value));
  return {
    ...sent,
    version: Number(sent.version),
    compactionCount: Number(sent.compactionCount),
    compactedThrough: Number(sent.compactedThrough),
    messageCount: Number(sent.messageCount),
    nextPosition: Number(sent.nextPosition),
    leafPosition: numberOrNull(sent.leafPosition),
    contextUsed: numberOrNull(sent.contextUsed),
    inputTokens: BigInt(sent.inputTokens),
    outputTokens: BigInt(sent.outputTokens),
    cacheReadTokens: BigInt(sent.cacheReadTokens),
    cacheWriteTokens: BigInt(sent.cacheWriteTokens),
    totalTokens: BigInt(sent.totalTokens),
    costNanoUsd: BigInt(sent.costNanoUsd),
  };
}

/** A session as it stands; null where there is none. `lock` holds off every other writer until the transaction ends. */
export async function readSessionRow(client: ClientBase, id: string, { lock }: { readonly lock: boolean }): Promise<SessionRow | null> {
  // Locked first: a statement that waited for the lock gives the activity as it was before the wait.
  if (lock) await client.query('select from aria_engine.chat_sessions where id = $1 for no key update', [id]);
  const { rows } = await client.query(
    `select ${SELECTED} from aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id where s.id = $1`,
    [id],
  );
  return rows[0] === undefined ? null : toRow(rows[0]);
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
export async function insertSessionRow(client: ClientBase, row: SessionRow): Promise<boolean> {
  const { rowCount } = await client.query(
    `with session as (
       insert into aria_engine.chat_sessions (id, agent_id, kind, title) values ($1, $2, $3::aria_engine.session_kind, $4)
       on conflict (id) do nothing returning id
     )
     insert into aria_engine.chat_session_activity (session_id, agent_id) select id, $2 from session`,
    [row.id, row.agentId, row.kind, row.title],
  );
  return rowCount === 1;
}

/** Writes a session as it shall stand, under its lock; `externalId` is its id at the source where that is no UUID. */
export async function updateSessionRow(client: ClientBase, row: SessionRow, externalId: string | null): Promise<void> {
  await update(client, 'chat_sessions', 'id', row, SESSION_COLUMNS, SESSION_FIELDS, 'external_id = coalesce(external_id, $2)', [
    row.id,
    externalId,
  ]);
  await updateActivityRow(client, row);
}

/** Writes only what moves with messages. */
export async function updateActivityRow(client: ClientBase, row: SessionRow): Promise<void> {
  const listed = row.deletedAt === null && row.supersededAt === null;
  await update(client, 'chat_session_activity', 'session_id', row, ACTIVITY_COLUMNS, ACTIVITY_FIELDS, 'listed = $2', [row.id, listed]);
}

async function update<Field extends keyof SessionRow>(
  client: ClientBase,
  table: string,
  idColumn: string,
  row: SessionRow,
  columns: Readonly<Record<Field, readonly [string, ColumnType]>>,
  fields: readonly Field[],
  more: string,
  values: readonly unknown[],
): Promise<void> {
  const set = fields.map((field, index) => `${columns[field][0]} = $${index + values.length + 1}::${columns[field][1]}`);
  const sent = fields.map(field => toParameter(row[field], columns[field][1]));
  await client.query(`update aria_engine.${table} set ${[more, ...set].join(', ')} where ${idColumn} = $1`, [...values, ...sent]);
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
