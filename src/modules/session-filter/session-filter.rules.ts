import { badInput } from '../../errors.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseSessionId } from '../../global-id.ts';
import type { Sql } from '../../postgres/database.ts';
import { fingerprintOf, type Ordering, type OrderTerm } from '../../postgres/keyset.ts';
import type { SessionPriority, SessionStatus } from '../session/session.rules.ts';
import type { SessionKind } from '../session-key/session-key.rules.ts';
import { assertMetadataSize, assertStorable, isJsonObject, readText } from '../text/text.input.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';

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

const MAX_FILTER_DEPTH = 10;
const MAX_FILTER_NODES = 200;
const MAX_ORDER_TERMS = 3;
const MAX_ACTIVE_MINUTES = 5_256_000;

/** Characters of a text that is searched for: what is longer costs the database seconds to take apart, and is nobody's search. */
export const MAX_SEARCH_LENGTH = 1_000;

/** Neither in the trash nor superseded, on the table `a`: what a list holds where its filter does not say. */
export const LISTED = Prisma.sql`a.listed`;

/** The text as a literal of a LIKE pattern: `%`, `_` and `\` are characters. */
function likeLiteral(text: string): string {
  return text.replace(/[\\%_]/g, '\\$&');
}

/**
 * A text without its case, by the expression the trigram index is built on. A sigma is a sigma: which of the two small ones
 * `lower` gives depends on where the word ends, and a piece of a word ends elsewhere.
 */
export function foldedText(text: Sql): Sql {
  return Prisma.sql`translate(lower(${text} collate "und-x-icu"), 'ς', 'σ')`;
}

/** `column` contains the text, in any case. */
export function containsText(column: Sql, text: string): Sql {
  return Prisma.sql`${foldedText(column)} like ${foldedText(Prisma.sql`${`%${likeLiteral(text)}%`}`)}`;
}

/**
 * The conditions of a filter, on the tables `s` (chat_sessions) and `a` (its activity).
 *
 * Columns may be null and SQL has three truth values, the contract two. AND and OR of unknowns are true exactly where they
 * are true with every unknown taken as false, so only `not` and `notIn` have to settle them: both are `... is not true`.
 * @param viewer for whom a parent that may not be seen is none
 * @param field the argument the filter stands in
 * @throws DomainError BAD_USER_INPUT
 */
export function sessionConditions(filter: SessionFilter | null | undefined, viewer: Viewer, field = 'filter'): Sql[] {
  const given = filter ?? {};
  assertStorable(given, field);
  const own = conditionsOf(given, field, 1, { viewer, nodes: 0 });
  const untrashed = given.trashed == null || !given.trashed;
  const unsuperseded = given.superseded == null || !given.superseded;
  // What is said outright is among the conditions already; the partial indexes are found by `listed` alone.
  if (untrashed && unsuperseded) return [LISTED, ...own];
  if (given.trashed == null) return [Prisma.sql`s.deleted_at is null`, ...own];
  if (given.superseded == null) return [Prisma.sql`s.superseded_at is null`, ...own];
  return own;
}

/** What all parts of one filter share. */
interface Compilation {
  readonly viewer: Viewer;
  /** Parts so far. */
  nodes: number;
}

function conditionsOf(filter: SessionFilter, field: string, depth: number, compilation: Compilation): Sql[] {
  const { viewer } = compilation;
  if (depth > MAX_FILTER_DEPTH) throw badInput(field, `must not be nested deeper than ${MAX_FILTER_DEPTH} levels`);
  if (++compilation.nodes > MAX_FILTER_NODES) throw badInput(field, `must not have more than ${MAX_FILTER_NODES} nested filters`);
  const nested = (part: SessionFilter, name: string) =>
    joined(conditionsOf(part, `${field}.${name}`, depth + 1, compilation), ' and ', true);
  const conditions: (Sql | null)[] = [
    filter.and == null
      ? null
      : joined(
          filter.and.map((part, index) => nested(part, `and.${index}`)),
          ' and ',
          true,
        ),
    filter.or == null
      ? null
      : joined(
          filter.or.map((part, index) => nested(part, `or.${index}`)),
          ' or ',
          false,
        ),
    filter.not == null ? null : Prisma.sql`(${nested(filter.not, 'not')}) is not true`,
    ...idConditions(filter.id),
    ...stringConditions(Prisma.sql`s.key`, filter.key),
    ...enumConditions(Prisma.sql`s.kind`, 'session_kind', filter.kind),
    ...stringConditions(Prisma.sql`a.agent_id`, filter.agentId),
    ...stringConditions(Prisma.sql`s.type`, filter.type),
    ...enumConditions(Prisma.sql`s.status`, 'session_status', filter.status),
    ...stringConditions(Prisma.sql`s.label`, filter.label),
    ...stringConditions(Prisma.sql`s.title`, filter.title),
    ...stringConditions(Prisma.sql`s.external_id`, filter.externalId),
    ...stringConditions(Prisma.sql`s.category`, filter.category),
    ...stringConditions(Prisma.sql`s.channel`, filter.channel),
    ...stringConditions(Prisma.sql`s.node_id`, filter.nodeId),
    ...enumConditions(Prisma.sql`s.priority`, 'session_priority', filter.priority),
    ...stringConditions(Prisma.sql`s.model`, filter.model),
    filter.tags == null ? null : Prisma.sql`s.tags @> ${[...filter.tags]}::text[]`,
    filter.parentId == null ? null : parentCondition(filter.parentId, viewer),
    filter.root == null ? null : rootCondition(filter.root, viewer),
    filter.metadata == null ? null : metadataCondition(filter.metadata, `${field}.metadata`),
    filter.search == null ? null : searchCondition(readText(filter.search, `${field}.search`, MAX_SEARCH_LENGTH)),
    filter.activeWithinMinutes == null ? null : activityCondition(filter.activeWithinMinutes, `${field}.activeWithinMinutes`),
    ...rangeConditions(Prisma.sql`s.created_at`, filter.createdAt),
    ...rangeConditions(Prisma.sql`s.started_at`, filter.startedAt),
    ...rangeConditions(Prisma.sql`a.updated_at`, filter.updatedAt),
    ...rangeConditions(Prisma.sql`a.last_activity_at`, filter.lastActivityAt),
    ...rangeConditions(Prisma.sql`s.ended_at`, filter.endedAt),
    presence(Prisma.sql`s.archived_at`, filter.archived),
    presence(Prisma.sql`s.pinned_at`, filter.pinned),
    presence(Prisma.sql`s.superseded_at`, filter.superseded),
    presence(Prisma.sql`s.deleted_at`, filter.trashed),
    filter.empty == null ? null : filter.empty ? Prisma.sql`a.message_count = 0` : Prisma.sql`a.message_count > 0`,
  ];
  return conditions.filter(condition => condition !== null);
}

function joined(conditions: readonly Sql[], separator: ' and ' | ' or ', ofNone: boolean): Sql {
  if (conditions.length === 0) return ofNone ? Prisma.sql`true` : Prisma.sql`false`;
  return Prisma.sql`(${Prisma.join([...conditions], separator)})`;
}

function idConditions(filter: SetFilter<string> | null | undefined): (Sql | null)[] {
  const uuids = (ids: readonly string[]) => ids.map(parseSessionId).filter(id => id !== null);
  return [
    filter?.eq == null ? null : Prisma.sql`s.id = ${parseSessionId(filter.eq)}::uuid`,
    filter?.in == null ? null : Prisma.sql`s.id = any(${uuids(filter.in)}::uuid[])`,
    filter?.notIn == null ? null : Prisma.sql`(s.id = any(${uuids(filter.notIn)}::uuid[])) is not true`,
  ];
}

function stringConditions(column: Sql, filter: StringFilter | null | undefined): (Sql | null)[] {
  if (filter == null) return [];
  return [
    filter.eq == null ? null : Prisma.sql`${column} = ${filter.eq}`,
    filter.in == null ? null : Prisma.sql`${column} = any(${[...filter.in]}::text[])`,
    filter.notIn == null ? null : Prisma.sql`(${column} = any(${[...filter.notIn]}::text[])) is not true`,
    filter.contains == null ? null : containsText(column, filter.contains),
    filter.startsWith == null ? null : Prisma.sql`starts_with(${column}, ${filter.startsWith})`,
    presence(column, filter.isNull == null ? null : !filter.isNull),
  ];
}

function enumConditions(column: Sql, type: string, filter: SetFilter<string> | null | undefined): (Sql | null)[] {
  const one = Prisma.raw(`aria_engine.${type}`);
  return [
    filter?.eq == null ? null : Prisma.sql`${column} = ${filter.eq}::${one}`,
    filter?.in == null ? null : Prisma.sql`${column} = any(${[...filter.in]}::${one}[])`,
    filter?.notIn == null ? null : Prisma.sql`(${column} = any(${[...filter.notIn]}::${one}[])) is not true`,
  ];
}

function rangeConditions(column: Sql, range: DateTimeRange | null | undefined): (Sql | null)[] {
  return [
    range?.from == null ? null : Prisma.sql`${column} >= ${range.from.toISOString()}::timestamptz`,
    range?.before == null ? null : Prisma.sql`${column} < ${range.before.toISOString()}::timestamptz`,
  ];
}

function presence(column: Sql, present: boolean | null | undefined): Sql | null {
  if (present == null) return null;
  return present ? Prisma.sql`${column} is not null` : Prisma.sql`${column} is null`;
}

/** Whether the parent exists for a viewer who is bound to agents. */
function parentIsVisible(viewer: Viewer): Sql {
  return Prisma.sql`exists (select from aria_engine.chat_sessions parent where parent.id = s.parent_id
    and ${visibleAgents(viewer, Prisma.sql`parent.agent_id`)})`;
}

function parentCondition(id: string, viewer: Viewer): Sql {
  const isParent = Prisma.sql`s.parent_id = ${parseSessionId(id)}::uuid`;
  return viewer.agentIds === null ? isParent : Prisma.sql`(${isParent} and ${parentIsVisible(viewer)})`;
}

function rootCondition(isRoot: boolean, viewer: Viewer): Sql {
  if (viewer.agentIds === null) return isRoot ? Prisma.sql`s.parent_id is null` : Prisma.sql`s.parent_id is not null`;
  return isRoot ? Prisma.sql`not ${parentIsVisible(viewer)}` : parentIsVisible(viewer);
}

function metadataCondition(metadata: unknown, field: string): Sql {
  if (!isJsonObject(metadata)) throw badInput(field, 'must be a JSON object');
  const json = JSON.stringify(metadata);
  assertMetadataSize(Buffer.byteLength(json), field);
  return Prisma.sql`s.metadata @> ${json}::jsonb`;
}

function activityCondition(minutes: number, field: string): Sql {
  if (minutes < 1 || minutes > MAX_ACTIVE_MINUTES) throw badInput(field, `must be from 1 to ${MAX_ACTIVE_MINUTES}`);
  return Prisma.sql`a.last_activity_at >= now() - make_interval(mins => ${minutes}::int)`;
}

function searchCondition(term: string): Sql {
  // Distinct, so that the planner sees how few ids it has to hash.
  return foundIn(
    term,
    Prisma.sql`s.id in (select distinct hit.session_id from aria_engine.chat_messages hit where ${containsText(Prisma.sql`hit.content`, term)})`,
  );
}

function foundIn(term: string, messages: Sql): Sql {
  const columns = ['title', 'label', 'display_name', 'subject', 'key', 'agent_id', 'task'];
  return joined([...columns.map(column => containsText(Prisma.raw(`s.${column}`), term)), messages], ' or ', false);
}

/** A search of sessions taken apart, for looking through the first of them one by one. */
export interface SessionSearch {
  /** The conditions of the rest of the filter. */
  readonly rest: readonly Sql[];
  /** True where the search finds a session by its texts or its newest messages, which are read rather than looked up in the index of all. */
  readonly foundAtOnce: Sql;
  /** How many messages `foundAtOnce` reads: of a session with more, it does not know the rest. */
  readonly newest: number;
}

const NEWEST_MESSAGES = 200;

/**
 * The top-level `search` of a filter, taken apart from the rest; null where there is none.
 * @throws DomainError BAD_USER_INPUT
 */
export function sessionSearch(filter: SessionFilter | null | undefined, viewer: Viewer): SessionSearch | null {
  if (filter?.search == null) return null;
  const { search, ...rest } = filter;
  // A span of positions, read whatever the planner thinks; `offset 0` keeps it from asking the index of all for each session anew.
  const ofSession = Prisma.sql`exists (select from (
    select hit.content from aria_engine.chat_messages hit
    where hit.session_id = s.id and hit.position >= a.next_position - ${NEWEST_MESSAGES}::int offset 0
  ) hit where ${containsText(Prisma.sql`hit.content`, search)})`;
  return { rest: sessionConditions(rest, viewer), foundAtOnce: Prisma.sql`${foundIn(search, ofSession)} is true`, newest: NEWEST_MESSAGES };
}

const SORT_VALUES: Readonly<Record<SessionOrderField, Omit<OrderTerm, 'descending'>>> = {
  CREATED_AT: { expression: Prisma.sql`s.created_at`, type: 'timestamptz' },
  STARTED_AT: { expression: Prisma.sql`s.started_at`, type: 'timestamptz' },
  UPDATED_AT: { expression: Prisma.sql`a.updated_at`, type: 'timestamptz' },
  LAST_ACTIVITY_AT: { expression: Prisma.sql`a.last_activity_at`, type: 'timestamptz' },
  ENDED_AT: { expression: Prisma.sql`coalesce(s.ended_at, 'infinity'::timestamptz)`, type: 'timestamptz' },
  TITLE: { expression: Prisma.sql`s.title collate "und-x-icu"`, type: 'text' },
  MESSAGE_COUNT: { expression: Prisma.sql`a.message_count`, type: 'integer' },
  TOTAL_TOKENS: { expression: Prisma.sql`a.total_tokens`, type: 'bigint' },
  PRIORITY: {
    expression: Prisma.sql`(case s.priority when 'LOW' then 0 when 'NORMAL' then 1 when 'HIGH' then 2 else 3 end)`,
    type: 'integer',
  },
};

const DEFAULT_ORDER: readonly SessionOrder[] = [{ field: 'LAST_ACTIVITY_AT', direction: 'DESC' }];

/**
 * The total order of a list of sessions: the terms, then the id in the direction of the first.
 * @param list what else a cursor of the list is bound to: its name and its filter
 * @throws DomainError BAD_USER_INPUT for more than three terms
 */
export function sessionOrdering(orderBy: readonly SessionOrder[] | null | undefined, list: unknown): Ordering {
  const asked = orderBy == null || orderBy.length === 0 ? DEFAULT_ORDER : orderBy;
  if (asked.length > MAX_ORDER_TERMS) throw badInput('orderBy', `must not have more than ${MAX_ORDER_TERMS} terms`);
  const terms = asked.map(order => ({ ...SORT_VALUES[order.field], descending: order.direction !== 'ASC' }));
  // The same id of the table whose index gives the order, so that one index range answers the page.
  const id = asked[0]?.field === 'LAST_ACTIVITY_AT' ? Prisma.sql`a.session_id` : Prisma.sql`s.id`;
  return {
    terms: [...terms, { expression: id, type: 'uuid', descending: terms[0]?.descending ?? true }],
    fingerprint: fingerprintOf([list, asked.map(order => [order.field, order.direction ?? 'DESC'])]),
  };
}
