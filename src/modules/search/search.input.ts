import { badInput } from '../../errors.ts';
import type { MessageRole } from '../message/message.loader.ts';
import type { BranchView } from '../message/message-filter.rules.ts';
import type { DateTimeRange, SessionFilter } from '../session-filter/session-filter.rules.ts';
import { assertStorable, readText } from '../text/text.input.ts';
import type { SearchMode, SearchOrder } from './search.rules.ts';

/** The input of a search. */
export interface SearchInput {
  readonly query: string;
  readonly mode?: SearchMode | null;
  readonly orderBy?: SearchOrder | null;
  readonly sessions?: SessionFilter | null;
  readonly roles?: readonly MessageRole[] | null;
  readonly createdAt?: DateTimeRange | null;
  readonly branch?: BranchView | null;
}

/** A checked search, with defaults filled in. */
export interface Search {
  readonly query: string;
  readonly mode: SearchMode;
  readonly orderBy: SearchOrder;
  readonly sessions: SessionFilter | null;
  readonly roles: readonly MessageRole[];
  readonly createdAt: DateTimeRange | null;
  readonly branch: BranchView;
}

const MAX_QUERY_LENGTH = 1_000;
const DEFAULT_ROLES: readonly MessageRole[] = ['USER', 'ASSISTANT', 'SYSTEM'];

/**
 * Checks the input of a search. The session filter is checked later, when it is compiled to SQL.
 * @throws DomainError BAD_USER_INPUT if the query is blank or too long
 */
export function readSearch(input: SearchInput): Search {
  assertStorable(input.query, 'query');
  if (input.query.trim() === '') throw badInput('query', 'must not be blank');
  return {
    query: readText(input.query, 'query', MAX_QUERY_LENGTH),
    mode: input.mode ?? 'WORDS',
    orderBy: input.orderBy ?? 'NEWEST',
    sessions: input.sessions ?? null,
    roles: input.roles ?? DEFAULT_ROLES,
    createdAt: input.createdAt ?? null,
    branch: input.branch ?? 'ACTIVE',
  };
}
