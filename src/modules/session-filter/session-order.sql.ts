import { badInput } from '../../errors.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { fingerprintOf, type Ordering, type OrderTerm } from '../../postgres/keyset.ts';
import type { SessionOrder, SessionOrderField } from './session-filter.rules.ts';

const MAX_ORDER_TERMS = 3;

const SORT_VALUES: Readonly<Record<SessionOrderField, Omit<OrderTerm, 'descending'>>> = {
  CREATED_AT: { expression: Prisma.sql`s.created_at`, type: 'timestamptz' },
  STARTED_AT: { expression: Prisma.sql`s.started_at`, type: 'timestamptz' },
  UPDATED_AT: { expression: Prisma.sql`a.updated_at`, type: 'timestamptz', field: 'updatedAt' },
  LAST_ACTIVITY_AT: { expression: Prisma.sql`a.last_activity_at`, type: 'timestamptz', field: 'lastActivityAt' },
  ENDED_AT: { expression: Prisma.sql`coalesce(s.ended_at, 'infinity'::timestamptz)`, type: 'timestamptz' },
  TITLE: { expression: Prisma.sql`s.title collate "und-x-icu"`, type: 'text' },
  MESSAGE_COUNT: { expression: Prisma.sql`a.message_count`, type: 'integer', field: 'messageCount' },
  TOTAL_TOKENS: { expression: Prisma.sql`a.total_tokens`, type: 'bigint' },
  PRIORITY: {
    expression: Prisma.sql`(case s.priority when 'LOW' then 0 when 'NORMAL' then 1 when 'HIGH' then 2 else 3 end)`,
    type: 'integer',
  },
};

/** The fields whose column is in `chat_session_activity`. */
const ACTIVITY_FIELDS: ReadonlySet<SessionOrderField> = new Set(['UPDATED_AT', 'LAST_ACTIVITY_AT', 'MESSAGE_COUNT', 'TOTAL_TOKENS']);

/** The fields with an index in their order. What appends change has none, except for the default order: each would cost every append. */
const INDEXED_FIELDS: ReadonlySet<SessionOrderField> = new Set([
  'CREATED_AT',
  'STARTED_AT',
  'LAST_ACTIVITY_AT',
  'ENDED_AT',
  'TITLE',
  'PRIORITY',
]);

/** The order of a list of sessions. */
export interface SessionOrdering extends Ordering {
  /** True if an index has this order. Otherwise Postgres sorts the whole list. */
  readonly hasIndex: boolean;
  /** True if all its columns are in `chat_session_activity`. */
  readonly isOnActivity: boolean;
}

const DEFAULT_ORDER: readonly SessionOrder[] = [{ field: 'LAST_ACTIVITY_AT', direction: 'DESC' }];

/**
 * The total order of a list of sessions: the given terms, then the id in the direction of the first term.
 * @param list the list's name and filter; a cursor is valid only for an equal `list` and order
 * @throws DomainError BAD_USER_INPUT for more than three terms
 */
export function sessionOrdering(orderBy: readonly SessionOrder[] | null | undefined, list: unknown): SessionOrdering {
  const orders = orderBy == null || orderBy.length === 0 ? DEFAULT_ORDER : orderBy;
  if (orders.length > MAX_ORDER_TERMS) throw badInput('orderBy', `must not have more than ${MAX_ORDER_TERMS} terms`);
  const terms = orders.map(order => ({ ...SORT_VALUES[order.field], descending: order.direction !== 'ASC' }));
  // The id column of the table that gives the order: one range of its index, or one scan of the table, then answers the page. A condition on
  // both tables is checked for each joined row: at 1,000,000 sessions, a page in the middle took seven times as long as the first.
  const id = orders[0] !== undefined && ACTIVITY_FIELDS.has(orders[0].field) ? Prisma.sql`a.session_id` : Prisma.sql`s.id`;
  return {
    hasIndex: orders.length === 1 && orders.every(({ field }) => INDEXED_FIELDS.has(field)),
    isOnActivity: orders.every(({ field }) => ACTIVITY_FIELDS.has(field)),
    terms: [...terms, { expression: id, type: 'uuid', descending: terms[0]?.descending ?? true, field: 'id' }],
    fingerprint: fingerprintOf([list, orders.map(order => [order.field, order.direction ?? 'DESC'])]),
  };
}
