import { badInput } from '../../errors.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseSessionId } from '../../global-id.ts';
import { typeName } from '../../postgres/columns/column-sql.ts';
import { type Columns, columnName, fieldsWith } from '../../postgres/columns/columns.ts';
import type { Sql } from '../../postgres/database.ts';
import { ACTIVITY_COLUMNS, SESSION_COLUMNS } from '../session/session.columns.ts';
import { assertMetadataSize, assertStorable, isJsonObject, readText } from '../text/text.input.ts';
import { MAX_SEARCH_LENGTH } from '../text/text.rules.ts';
import { containsTerm, containsText } from '../text/text.sql.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import type { DateTimeRange, SessionFilter, SetFilter, StringFilter } from './session-filter.rules.ts';

const MAX_FILTER_DEPTH = 10;
const MAX_FILTER_NODES = 200;
const MAX_ACTIVE_MINUTES = 5_256_000;

/** The condition, on the table `a`, that a session is neither in the trash nor superseded. Lists use it unless their filter says otherwise. */
export const LISTED = Prisma.sql`a.listed`;

/**
 * The conditions of a filter, on the tables `s` (chat_sessions) and `a` (chat_session_activity).
 *
 * A comparison with a null column is neither true nor false in SQL, but the contract counts it as false. AND and OR of such results
 * are true in the same cases under both readings, so only `not` and `notIn` need care: they compile to `... is not true`.
 * @param viewer a parent that this viewer may not see counts as no parent
 * @param field name of the argument that holds the filter, for errors
 * @throws DomainError BAD_USER_INPUT
 */
export function sessionConditions(filter: SessionFilter | null | undefined, viewer: Viewer, field = 'filter'): Sql[] {
  const given = filter ?? {};
  assertStorable(given, field);
  const conditions = conditionsOf(given, field, 1, { viewer, nodes: 0 });
  const untrashed = given.trashed == null || !given.trashed;
  const unsuperseded = given.superseded == null || !given.superseded;
  // The partial indexes need `listed`, even if the filter already says `trashed: false` or `superseded: false`.
  if (untrashed && unsuperseded) return [LISTED, ...conditions];
  if (given.trashed == null) return [Prisma.sql`s.deleted_at is null`, ...conditions];
  if (given.superseded == null) return [Prisma.sql`s.superseded_at is null`, ...conditions];
  return conditions;
}

/** The filterable columns of a table, with their names and types in SQL. */
function filterable<Table extends Columns<Table>>(alias: string, table: Table) {
  return fieldsWith(table, 'filter').map(field => ({
    field,
    column: Prisma.raw(`${alias}.${columnName(field)}`),
    type: typeName(table[field].type),
  }));
}

/** The fields that a search looks in, besides the messages. */
const SEARCHED: readonly (keyof typeof SESSION_COLUMNS)[] = ['title', 'label', 'displayName', 'subject', 'key', 'agentId', 'task'];

const FILTERABLE = [...filterable('s', SESSION_COLUMNS), ...filterable('a', ACTIVITY_COLUMNS)];

/** State shared by all nested parts of one filter. */
interface Compilation {
  readonly viewer: Viewer;
  /** Number of parts compiled so far. */
  nodes: number;
}

function conditionsOf(filter: SessionFilter, field: string, depth: number, compilation: Compilation): Sql[] {
  const { viewer } = compilation;
  if (depth > MAX_FILTER_DEPTH) throw badInput(field, `must not be nested deeper than ${MAX_FILTER_DEPTH} levels`);
  if (++compilation.nodes > MAX_FILTER_NODES) throw badInput(field, `must not have more than ${MAX_FILTER_NODES} nested filters`);
  const nested = (part: SessionFilter, name: string) => all(conditionsOf(part, `${field}.${name}`, depth + 1, compilation));
  const conditions: (Sql | null)[] = [
    filter.and == null ? null : all(filter.and.map((part, index) => nested(part, `and.${index}`))),
    filter.or == null ? null : anyOf(filter.or.map((part, index) => nested(part, `or.${index}`))),
    filter.not == null ? null : Prisma.sql`(${nested(filter.not, 'not')}) is not true`,
    ...idConditions(filter.id),
    ...FILTERABLE.flatMap(({ field, column, type }) => {
      const operators = filter[field];
      return operators == null ? [] : columnConditions(column, type, operators);
    }),
    filter.tags == null ? null : Prisma.sql`s.tags @> ${[...filter.tags]}::text[]`,
    filter.parentId == null ? null : parentCondition(filter.parentId, viewer),
    filter.root == null ? null : rootCondition(filter.root, viewer),
    filter.metadata == null ? null : metadataCondition(filter.metadata, `${field}.metadata`),
    filter.search == null ? null : searchCondition(readText(filter.search, `${field}.search`, MAX_SEARCH_LENGTH)),
    filter.activeWithinMinutes == null ? null : activityCondition(filter.activeWithinMinutes, `${field}.activeWithinMinutes`),
    presence(Prisma.sql`s.archived_at`, filter.archived),
    presence(Prisma.sql`s.pinned_at`, filter.pinned),
    presence(Prisma.sql`s.superseded_at`, filter.superseded),
    presence(Prisma.sql`s.deleted_at`, filter.trashed),
    filter.empty == null ? null : filter.empty ? Prisma.sql`a.message_count = 0` : Prisma.sql`a.message_count > 0`,
  ];
  return conditions.filter(condition => condition !== null);
}

/** Joins conditions by AND; an empty list is true. */
function all(conditions: readonly Sql[]): Sql {
  return conditions.length === 0 ? Prisma.sql`true` : Prisma.sql`(${Prisma.join([...conditions], ' and ')})`;
}

/** Joins conditions by OR; an empty list is false. */
function anyOf(conditions: readonly Sql[]): Sql {
  return conditions.length === 0 ? Prisma.sql`false` : Prisma.sql`(${Prisma.join([...conditions], ' or ')})`;
}

function idConditions(filter: SetFilter<string> | null | undefined): (Sql | null)[] {
  const uuids = (ids: readonly string[]) => ids.map(parseSessionId).filter(id => id !== null);
  return [
    filter?.eq == null ? null : Prisma.sql`s.id = ${parseSessionId(filter.eq)}::uuid`,
    filter?.in == null ? null : Prisma.sql`s.id = any(${uuids(filter.in)}::uuid[])`,
    filter?.notIn == null ? null : Prisma.sql`(s.id = any(${uuids(filter.notIn)}::uuid[])) is not true`,
  ];
}

/** The operators of all column filters. The schema decides which of them a column's filter has. */
type Operators = StringFilter & DateTimeRange;

function columnConditions(column: Sql, type: Sql, { eq, in: among, notIn, contains, startsWith, isNull, ...range }: Operators): Sql[] {
  const conditions = [
    eq == null ? null : Prisma.sql`${column} = ${eq}::${type}`,
    among == null ? null : Prisma.sql`${column} = any(${[...among]}::${type}[])`,
    notIn == null ? null : Prisma.sql`(${column} = any(${[...notIn]}::${type}[])) is not true`,
    contains == null ? null : containsText(column, contains),
    startsWith == null ? null : Prisma.sql`starts_with(${column}, ${startsWith})`,
    presence(column, isNull == null ? null : !isNull),
    ...rangeConditions(column, range),
  ];
  return conditions.filter(condition => condition !== null);
}

/** The conditions that a timestamp lies in a range; none for a range that is left out. */
export function rangeConditions(column: Sql, range: DateTimeRange | null | undefined): Sql[] {
  const conditions: Sql[] = [];
  if (range?.from != null) conditions.push(Prisma.sql`${column} >= ${range.from.toISOString()}::timestamptz`);
  if (range?.before != null) conditions.push(Prisma.sql`${column} < ${range.before.toISOString()}::timestamptz`);
  return conditions;
}

function presence(column: Sql, present: boolean | null | undefined): Sql | null {
  if (present == null) return null;
  return present ? Prisma.sql`${column} is not null` : Prisma.sql`${column} is null`;
}

/** The condition that the parent exists for a viewer who is limited to some agents. */
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
  return Prisma.sql`s.id in (${sessionsWith(term)})`;
}

/**
 * All searched texts of a session, by the expression of their trigram index. A term with a line break may match it across two texts, so each
 * text must be checked too.
 */
const SEARCHED_TEXTS = Prisma.raw(`(${SEARCHED.map(field => `coalesce(s.${columnName(field)}, '')`).join(' || chr(10) || ')})`);

/** A SELECT of the ids of the sessions whose own texts or messages contain a term, by the indexes on them. A session may occur twice. */
export function sessionsWith(term: string, contains = containsText): Sql {
  return Prisma.sql`select m.session_id as id from aria_engine.chat_messages m where ${contains(Prisma.sql`m.content`, term)}
    union all select s.id from aria_engine.chat_sessions s where ${contains(SEARCHED_TEXTS, term)} and ${textsContain(term)}`;
}

/** The condition that one of a session's own texts contains a term, without an index. */
export function textsContain(term: string): Sql {
  return anyOf(SEARCHED.map(field => containsTerm(Prisma.raw(`s.${columnName(field)}`), term)));
}

/**
 * Joins a session as the tables `s` and `a`, by one lookup for each row. With an ordinary join, the planner may read all sessions, because it
 * cannot know how few rows a search finds.
 */
export function lookUpSession(id: Sql): Sql {
  return Prisma.sql`cross join lateral (select xmin, * from aria_engine.chat_sessions where id = ${id} offset 0) s
    cross join lateral (select xmin, * from aria_engine.chat_session_activity where session_id = ${id} offset 0) a`;
}
