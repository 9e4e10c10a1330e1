import type { SessionPriority, SessionStatus } from '../session/session.rules.ts';
import type { SessionKind } from '../session-key/session-key.rules.ts';

/** One value, some, or all but some. An operator that is null counts as left out. */
export interface SetFilter<Value> {
  readonly eq?: Value | null;
  readonly in?: readonly Value[] | null;
  readonly notIn?: readonly Value[] | null;
}

export interface StringFilter extends SetFilter<string> {
  readonly contains?: string | null;
  readonly startsWith?: string | null;
  readonly isNull?: boolean | null;
}

/** Half-open: from <= t < before. */
export interface DateTimeRange {
  readonly from?: Date | null;
  readonly before?: Date | null;
}

/** Which sessions; the fields are joined by AND. The meaning of each is in the schema's descriptions. */
export interface SessionFilter {
  readonly and?: readonly SessionFilter[] | null;
  readonly or?: readonly SessionFilter[] | null;
  readonly not?: SessionFilter | null;
  readonly id?: SetFilter<string> | null;
  readonly key?: StringFilter | null;
  readonly kind?: SetFilter<SessionKind> | null;
  readonly agentId?: StringFilter | null;
  readonly type?: StringFilter | null;
  readonly status?: SetFilter<SessionStatus> | null;
  readonly label?: StringFilter | null;
  readonly title?: StringFilter | null;
  readonly externalId?: StringFilter | null;
  readonly category?: StringFilter | null;
  readonly channel?: StringFilter | null;
  readonly nodeId?: StringFilter | null;
  readonly priority?: SetFilter<SessionPriority> | null;
  readonly model?: StringFilter | null;
  readonly tags?: readonly string[] | null;
  readonly parentId?: string | null;
  readonly root?: boolean | null;
  readonly metadata?: NonNullable<unknown> | null;
  readonly search?: string | null;
  readonly activeWithinMinutes?: number | null;
  readonly createdAt?: DateTimeRange | null;
  readonly startedAt?: DateTimeRange | null;
  readonly updatedAt?: DateTimeRange | null;
  readonly lastActivityAt?: DateTimeRange | null;
  readonly endedAt?: DateTimeRange | null;
  readonly archived?: boolean | null;
  readonly pinned?: boolean | null;
  readonly superseded?: boolean | null;
  readonly trashed?: boolean | null;
  readonly empty?: boolean | null;
}

export type SessionOrderField =
  | 'CREATED_AT'
  | 'STARTED_AT'
  | 'UPDATED_AT'
  | 'LAST_ACTIVITY_AT'
  | 'ENDED_AT'
  | 'TITLE'
  | 'MESSAGE_COUNT'
  | 'TOTAL_TOKENS'
  | 'PRIORITY';

export interface SessionOrder {
  readonly field: SessionOrderField;
  /** DESC where left out. */
  readonly direction?: 'ASC' | 'DESC' | null;
}
