import { Prisma } from '../../generated/prisma/client.ts';
import type { Sql } from '../../postgres/database.ts';
import { fingerprintOf } from '../../postgres/keyset.ts';
import { rangeConditions } from '../session-filter/session-filter.sql.ts';
import { assertStorable, readText } from '../text/text.input.ts';
import { MAX_SEARCH_LENGTH } from '../text/text.rules.ts';
import { containsText } from '../text/text.sql.ts';
import type { MessageList, MessageRole } from './message.loader.ts';
import type { BranchView, MessageFilter } from './message-filter.rules.ts';

/** The condition that a message is in the active view, on the tables `m` (chat_messages) and `s` (chat_sessions). */
export const ACTIVE_MESSAGE = Prisma.sql`m.on_branch and m.position > s.compacted_through`;

/** The condition that a message has one of these roles, on the table `m`. */
export function roleCondition(roles: readonly MessageRole[]): Sql {
  return Prisma.sql`m.role = any(${[...roles]}::aria_engine.message_role[])`;
}

/**
 * A session's messages that match a filter, ordered by position.
 * @throws DomainError BAD_USER_INPUT
 */
export function messageList(filter: MessageFilter | null | undefined, branch: BranchView | null | undefined): MessageList {
  assertStorable(filter, 'filter');
  const view = branch ?? 'ACTIVE';
  const conditions = [
    ...(view === 'ACTIVE' ? [ACTIVE_MESSAGE] : []),
    ...(filter?.roles == null ? [] : [roleCondition(filter.roles)]),
    ...rangeConditions(Prisma.sql`m.created_at`, filter?.createdAt),
    ...(filter?.afterPosition == null ? [] : [Prisma.sql`m.position > ${filter.afterPosition}::bigint`]),
    ...(filter?.search == null ? [] : [containsText(Prisma.sql`m.content`, readText(filter.search, 'filter.search', MAX_SEARCH_LENGTH))]),
  ];
  return {
    conditions,
    ordering: {
      terms: [{ expression: Prisma.sql`m.position`, type: 'bigint', descending: false, field: 'position' }],
      fingerprint: fingerprintOf(['messages', view, filter]),
    },
  };
}
