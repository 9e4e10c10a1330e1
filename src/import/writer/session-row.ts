import { Prisma } from '../../generated/prisma/client.ts';
import { ACTIVITY_COLUMNS, SESSION_COLUMNS } from '../../modules/session/session.columns.ts';
import type { UsageAmounts } from '../../modules/usage/usage.rules.ts';
import { assignValue, selectColumns } from '../../postgres/columns/column-sql.ts';
import { type FieldsWith, fieldsWith, nullsOf, type RowOf } from '../../postgres/columns/columns.ts';
import type { Executor } from '../../postgres/database.ts';
import { hashValue } from './field-merge.ts';

type SessionField = FieldsWith<typeof SESSION_COLUMNS, { readonly imported: string }>;
type ActivityField = FieldsWith<typeof ACTIVITY_COLUMNS, { readonly imported: string }>;

/** The columns of a session that an import reads, and may change. */
export interface ImportedSession
  extends RowOf<typeof SESSION_COLUMNS, Date, SessionField>,
    RowOf<typeof ACTIVITY_COLUMNS, Date, Exclude<ActivityField, keyof UsageAmounts>>,
    UsageAmounts {}

const SESSION_FIELDS = fieldsWith(SESSION_COLUMNS, 'imported');
const ACTIVITY_FIELDS = fieldsWith(ACTIVITY_COLUMNS, 'imported');

/** The fields of chat_sessions that an import may change. */
export const CHANGEABLE_FIELDS = SESSION_FIELDS.filter(field => SESSION_COLUMNS[field].imported !== 'read');

const SELECTED = Prisma.join([
  ...selectColumns('s', SESSION_COLUMNS, SESSION_FIELDS, 'exact'),
  ...selectColumns('a', ACTIVITY_COLUMNS, ACTIVITY_FIELDS, 'exact'),
]);

/** Reads a session; null if it does not exist. With `lock`, no other transaction can change it until this one ends. */
export async function readSessionRow(
  executor: Executor,
  id: string,
  { lock }: { readonly lock: boolean },
): Promise<ImportedSession | null> {
  // In a statement of its own: a statement that waits for the lock reads the activity as it was before the wait.
  if (lock) await executor.rows(Prisma.sql`select from aria_engine.chat_sessions where id = ${id}::uuid for no key update`);
  const [row] = await executor.rows<ImportedSession>(Prisma.sql`
    select ${SELECTED} from aria_engine.chat_sessions s
      join aria_engine.chat_session_activity a on a.session_id = s.id where s.id = ${id}::uuid`);
  return row ?? null;
}

/** A session without any content. */
export function emptySessionRow(id: string, agentId: string, now: Date): ImportedSession {
  const tokens = { inputTokens: 0n, outputTokens: 0n, cacheReadTokens: 0n, cacheWriteTokens: 0n, totalTokens: 0n, costNanoUsd: 0n };
  const counts = { compactionCount: 0, compactedThrough: 0, version: 1, messageCount: 0, nextPosition: 1 };
  const times = { createdAt: now, startedAt: now, updatedAt: now, lastActivityAt: now };
  const texts = { kind: 'OTHER', type: 'chat', status: 'ACTIVE', title: '' } as const;
  const objects = { settings: {}, settingsExtra: {}, metadata: {} };
  return { ...nullsOf(SESSION_COLUMNS), ...nullsOf(ACTIVITY_COLUMNS), id, agentId, ...tokens, ...counts, ...times, ...texts, ...objects };
}

/** The session with `updatedAt` set to now. It keeps a later `updatedAt`, which another server's clock may have set. */
export function withUpdatedAt(row: ImportedSession, now: Date): ImportedSession {
  return now > row.updatedAt ? { ...row, updatedAt: now } : row;
}

/** Inserts the rows of a session without content. Returns false if a session with this id exists, after its transaction has committed. */
export async function insertSessionRow(executor: Executor, row: ImportedSession): Promise<boolean> {
  const inserted = await executor.rows(Prisma.sql`
    with session as (
      insert into aria_engine.chat_sessions (id, agent_id, kind, title)
      values (${row.id}::uuid, ${row.agentId}, ${row.kind}::aria_engine.session_kind, ${row.title})
      on conflict (id) do nothing returning id
    )
    insert into aria_engine.chat_session_activity (session_id, agent_id) select id, ${row.agentId} from session returning session_id`);
  return inserted.length === 1;
}

/**
 * Writes all columns of a session under its lock.
 * @param externalId the session's id at the source, null if that is its UUID
 */
export async function updateSessionRow(executor: Executor, row: ImportedSession, externalId: string | null): Promise<void> {
  const set = Prisma.join(CHANGEABLE_FIELDS.map(field => assignValue(SESSION_COLUMNS, field, row[field])));
  await executor.rows(Prisma.sql`
    update aria_engine.chat_sessions set external_id = coalesce(external_id, ${externalId}), ${set} where id = ${row.id}::uuid`);
  await updateActivityRow(executor, row);
}

/** Writes the columns of chat_session_activity of a session under its lock. */
export async function updateActivityRow(executor: Executor, row: ImportedSession): Promise<void> {
  const listed = row.deletedAt === null && row.supersededAt === null;
  const set = Prisma.join(ACTIVITY_FIELDS.map(field => assignValue(ACTIVITY_COLUMNS, field, row[field])));
  await executor.rows(Prisma.sql`
    update aria_engine.chat_session_activity set listed = ${listed}, ${set} where session_id = ${row.id}::uuid`);
}

/** True if all columns of chat_sessions are equal. */
export function isSameSession(one: ImportedSession, other: ImportedSession): boolean {
  return CHANGEABLE_FIELDS.every(field => hashValue(one[field]) === hashValue(other[field]));
}

/** True if all columns of chat_session_activity but `updatedAt` are equal. */
export function isSameActivity(one: ImportedSession, other: ImportedSession): boolean {
  return ACTIVITY_FIELDS.every(field => field === 'updatedAt' || one[field]?.valueOf() === other[field]?.valueOf());
}
