import { DomainError, sessionNotFound } from '../../errors.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseSessionId } from '../../global-id.ts';
import { selectColumns } from '../../postgres/columns/column-sql.ts';
import { type FieldsWith, fieldsWithout, type RowOf } from '../../postgres/columns/columns.ts';
import type { Executor } from '../../postgres/database.ts';
import { SESSION_COLUMNS } from '../session/session.columns.ts';
import type { SessionStatus } from '../session/session.rules.ts';
import type { UsageRow } from '../usage/usage.rules.ts';
import { USAGE_COLUMNS } from '../usage/usage.sql.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';

type LargeField = FieldsWith<typeof SESSION_COLUMNS, { readonly large: true }>;

/** A session under its row lock: nobody else changes it until the transaction ends. It has all columns but the large ones. */
export interface LockedSession extends RowOf<typeof SESSION_COLUMNS, Date, Exclude<keyof typeof SESSION_COLUMNS, LargeField>>, UsageRow {
  /** Milliseconds since the last activity. */
  readonly idleMs: number;
}

/** Options of a lock. */
export interface LockOptions {
  /** Also locks a session in the trash. */
  readonly trashed: boolean;
  /** The transaction removes the session for good: no message may be written at the same time. */
  readonly forRemoval?: boolean;
  readonly expectedVersion?: number | null;
}

const LOCKED_COLUMNS = Prisma.join(selectColumns('s', SESSION_COLUMNS, fieldsWithout(SESSION_COLUMNS, 'large'), 'exact'));

/**
 * Locks a session and reads its newest version.
 * It locks both rows, that of chat_sessions first, as every write does.
 * @param id global id or UUID
 * @throws DomainError SESSION_NOT_FOUND (also if the viewer may not see the session), VERSION_CONFLICT
 */
export async function lockSession(transaction: Executor, viewer: Viewer, id: string, options: LockOptions): Promise<LockedSession> {
  const uuid = parseSessionId(id);
  if (uuid === null) throw sessionNotFound(id);
  const strength = options.forRemoval ? Prisma.sql`for update` : Prisma.sql`for no key update`;
  const [session] = await transaction.rows<LockedSession>(Prisma.sql`
    select ${LOCKED_COLUMNS}, ${USAGE_COLUMNS},
      greatest(0, floor(extract(epoch from clock_timestamp() - a.last_activity_at) * 1000))::float8 as "idleMs"
    from aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id
    where s.id = ${uuid}::uuid and ${visibleAgents(viewer, Prisma.sql`s.agent_id`)} ${strength} of s, a`);
  if (session === undefined) throw sessionNotFound(id);
  if (session.deletedAt !== null && !options.trashed) throw sessionNotFound(id, true);
  if (options.expectedVersion != null && options.expectedVersion !== session.version) {
    throw new DomainError('VERSION_CONFLICT', `The session is at version ${session.version}, not ${options.expectedVersion}.`, {
      expectedVersion: options.expectedVersion,
      currentVersion: session.version,
    });
  }
  return session;
}

/** The payload of a STATUS_CHANGED event: the change, and the session's usage and idle time before it. */
export function statusChange(session: Pick<LockedSession, 'status' | 'idleMs' | keyof UsageRow>, to: SessionStatus, reason: string | null) {
  const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, totalTokens, costNanoUsd, idleMs } = session;
  return {
    from: session.status,
    to,
    reason,
    usage: { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, totalTokens, costNanoUsd },
    idleMs,
  };
}
