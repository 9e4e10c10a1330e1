import { DomainError, sessionNotFound } from '../../errors.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseSessionId } from '../../global-id.ts';
import type { Executor } from '../../postgres/database.ts';
import type { SessionKind } from '../session-key/session-key.rules.ts';
import type { UsageRow } from '../usage/usage.rules.ts';
import { USAGE_COLUMNS } from '../usage/usage.sql.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import type { DeliveryInput, OriginInput } from './session.input.ts';
import type { SessionPriority, SessionStatus } from './session.rules.ts';

/** A session under its row lock: nobody else changes it until the transaction ends. Columns bear their own names. */
export interface LockedSession extends UsageRow {
  readonly id: string;
  readonly agent_id: string;
  readonly key: string | null;
  readonly kind: SessionKind;
  readonly status: SessionStatus;
  readonly status_reason: string | null;
  readonly title: string;
  readonly given_title: string | null;
  readonly derived_title: string | null;
  readonly label: string | null;
  readonly display_name: string | null;
  readonly subject: string | null;
  readonly category: string | null;
  readonly tags: readonly string[];
  readonly channel: string | null;
  readonly node_id: string | null;
  readonly output_path: string | null;
  readonly priority: SessionPriority;
  readonly task: string | null;
  readonly prompt: string | null;
  readonly token_limit: number | null;
  readonly model: string | null;
  readonly model_provider: string | null;
  readonly origin: OriginInput | null;
  readonly delivery: DeliveryInput | null;
  readonly parent_id: string | null;
  readonly version: number;
  readonly expected_completion_at: Date | null;
  readonly ended_at: Date | null;
  readonly archived_at: Date | null;
  readonly pinned_at: Date | null;
  readonly superseded_at: Date | null;
  readonly deleted_at: Date | null;
  /** Milliseconds since the last activity. */
  readonly idleMs: number;
}

export interface LockOptions {
  /** Whether a session in the trash will do. */
  readonly trashed: boolean;
  /** Whether the session is to be removed for good, which a message being written must not pass by. */
  readonly forRemoval?: boolean;
  readonly expectedVersion?: number | null;
}

/**
 * Locks a session and reads it as it stands then.
 * Both of its rows are locked, the session's first, as every write does: what is read of either is then the newest.
 * @param id global id or UUID
 * @throws DomainError SESSION_NOT_FOUND (also where it may not be seen), VERSION_CONFLICT
 */
export async function lockSession(transaction: Executor, viewer: Viewer, id: string, options: LockOptions): Promise<LockedSession> {
  const uuid = parseSessionId(id);
  if (uuid === null) throw sessionNotFound(id);
  const strength = options.forRemoval ? Prisma.sql`for update` : Prisma.sql`for no key update`;
  const [session] = await transaction.rows<LockedSession>(Prisma.sql`
    select s.id, s.agent_id, s.key, s.kind, s.status, s.status_reason, s.title, s.given_title, s.derived_title, s.label, s.display_name, s.subject,
      s.category, s.tags, s.channel, s.node_id, s.output_path, s.priority, s.task, s.prompt, s.token_limit, s.model, s.model_provider,
      s.origin, s.delivery, s.parent_id, s.version, s.expected_completion_at, s.ended_at, s.archived_at, s.pinned_at, s.superseded_at, s.deleted_at,
      ${USAGE_COLUMNS}, greatest(0, floor(extract(epoch from clock_timestamp() - a.last_activity_at) * 1000))::float8 as "idleMs"
    from aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id
    where s.id = ${uuid}::uuid and ${visibleAgents(viewer, Prisma.sql`s.agent_id`)} ${strength} of s, a`);
  if (session === undefined) throw sessionNotFound(id);
  if (session.deleted_at !== null && !options.trashed) throw sessionNotFound(id, true);
  if (options.expectedVersion != null && options.expectedVersion !== session.version) {
    throw new DomainError('VERSION_CONFLICT', `The session is at version ${session.version}, not ${options.expectedVersion}.`, {
      expectedVersion: options.expectedVersion,
      currentVersion: session.version,
    });
  }
  return session;
}

/** The payload of STATUS_CHANGED: the change, and the session's usage and idle time as of it. */
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
