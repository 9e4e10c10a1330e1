import { Prisma } from '../../generated/prisma/client.ts';
import type { Sql } from '../../postgres/database.ts';
import { fingerprintOf } from '../../postgres/keyset.ts';
import { containsText, type DateTimeRange, MAX_SEARCH_LENGTH } from '../session-filter/session-filter.rules.ts';
import { assertStorable, readText } from '../text/text.input.ts';
import { ACTIVE_MESSAGE, type MessageList, type MessageRole } from './message.loader.ts';

/** ACTIVE: the path to the leaf, without what was compacted. ALL: every branch. */
export type BranchView = 'ACTIVE' | 'ALL';

export interface MessageFilter {
  readonly roles?: readonly MessageRole[] | null;
  readonly createdAt?: DateTimeRange | null;
  readonly afterPosition?: number | null;
  readonly search?: string | null;
}

/** The condition of roles on the table `m`. */
export function roleCondition(roles: readonly MessageRole[]): Sql {
  return Prisma.sql`m.role = any(${[...roles]}::aria_engine.message_role[])`;
}

/** The conditions of a span of creation on the table `m`. */
export function createdConditions(range: DateTimeRange | null | undefined): Sql[] {
  const conditions: Sql[] = [];
  if (range?.from != null) conditions.push(Prisma.sql`m.created_at >= ${range.from.toISOString()}::timestamptz`);
  if (range?.before != null) conditions.push(Prisma.sql`m.created_at < ${range.before.toISOString()}::timestamptz`);
  return conditions;
}

/**
 * A session's messages, oldest first, by position.
 * @throws DomainError BAD_USER_INPUT
 */
export function messageList(filter: MessageFilter | null | undefined, branch: BranchView | null | undefined): MessageList {
  assertStorable(filter, 'filter');
  const view = branch ?? 'ACTIVE';
  const conditions = [
    ...(view === 'ACTIVE' ? [ACTIVE_MESSAGE] : []),
    ...(filter?.roles == null ? [] : [roleCondition(filter.roles)]),
    ...createdConditions(filter?.createdAt),
    ...(filter?.afterPosition == null ? [] : [Prisma.sql`m.position > ${filter.afterPosition}::bigint`]),
    ...(filter?.search == null ? [] : [containsText(Prisma.sql`m.content`, readText(filter.search, 'filter.search', MAX_SEARCH_LENGTH))]),
  ];
  return {
    conditions,
    ordering: {
      terms: [{ expression: Prisma.sql`m.position`, type: 'bigint', descending: false }],
      fingerprint: fingerprintOf(['messages', view, filter]),
    },
  };
}
