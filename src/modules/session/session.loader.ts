import { Prisma } from '../../generated/prisma/client.ts';
import { byKey, LoaderSet, type OfParent, pagesByParent } from '../../postgres/batching.ts';
import { selectColumns } from '../../postgres/columns/column-sql.ts';
import { type FieldsWith, fieldsWith, type RowOf } from '../../postgres/columns/columns.ts';
import { type Executor, PREPARED, type Sql } from '../../postgres/database.ts';
import {
  allOf,
  emptyPage,
  keysetConditions,
  namedOrder,
  orderList,
  type Page,
  type PageWindow,
  pageColumns,
  pageLimit,
  rowsToRead,
  toPage,
  type WithCursor,
} from '../../postgres/keyset.ts';
import { type KeyedRead, readAlone } from '../../postgres/shared-reads.ts';
import { lookUpSession } from '../session-filter/session-filter.sql.ts';
import type { SessionOrdering } from '../session-filter/session-order.sql.ts';
import type { SessionSearch } from '../session-filter/session-search.sql.ts';
import { type ListSearch, searchList } from '../text/text-search.loader.ts';
import { rightsOf, type Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import { ACTIVITY_COLUMNS, SESSION_COLUMNS, SESSION_GROUPS, type SessionGroup } from './session.columns.ts';

type ColumnsOf<Group extends SessionGroup> = RowOf<typeof SESSION_COLUMNS, string, FieldsWith<typeof SESSION_COLUMNS, { read: Group }>> &
  RowOf<typeof ACTIVITY_COLUMNS, string, FieldsWith<typeof ACTIVITY_COLUMNS, { read: Group }>>;

/** A session as it is read for a response; a column is absent if its group was not selected. Timestamps are Postgres' text in UTC. */
export interface SessionRow extends ColumnsOf<'core'>, Partial<ColumnsOf<Exclude<SessionGroup, 'core'>>> {
  /** Number of ancestors that the viewer may see. */
  readonly depth?: number;
  /** Differs after each write of the session. */
  readonly stamp?: string;
}

function columnsOf(group: SessionGroup): Sql {
  return Prisma.join([
    ...selectColumns('s', SESSION_COLUMNS, fieldsWith(SESSION_COLUMNS, 'read', group), 'response'),
    ...selectColumns('a', ACTIVITY_COLUMNS, fieldsWith(ACTIVITY_COLUMNS, 'read', group), 'response'),
  ]);
}

/** The SELECT list of each column group. The set is closed, which keeps the number of different statements small. */
const GROUPS: readonly (readonly [string, Sql])[] = [
  ...SESSION_GROUPS.map(group => [group, columnsOf(group)] as const),
  // The transactions that wrote the two rows. Unlike `updated_at`, they differ for two writes in one millisecond.
  ['stamp', Prisma.sql`concat(s.xmin, '.', a.xmin) as "stamp"`],
];

/** The number of ancestors that the viewer may see, up to the first one that the viewer may not see. */
function depthColumn(viewer: Viewer): Sql {
  const visible = viewer.agentIds === null ? Prisma.empty : Prisma.sql` and ${visibleAgents(viewer, Prisma.sql`p.agent_id`)}`;
  return Prisma.sql`(with recursive lineage(id, depth) as (
    select s.parent_id, 0 where s.parent_id is not null
    union all select p.parent_id, l.depth + 1 from lineage l join aria_engine.chat_sessions p on p.id = l.id${visible}
  ) select coalesce(max(depth), 0) from lineage) as "depth"`;
}

const SESSIONS = Prisma.sql`aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id`;

/** The same rows, if few columns are read. With a left join, Postgres does not read `s` if nothing uses it; with an inner join it must. */
const ACTIVITIES = Prisma.sql`aria_engine.chat_session_activity a left join aria_engine.chat_sessions s on s.id = a.session_id`;

/** A list of sessions: its conditions, on the tables `s` (chat_sessions) and `a` (chat_session_activity), and its order. */
export interface SessionList {
  readonly conditions: readonly Sql[];
  readonly ordering: SessionOrdering;
  /** The search, which the conditions contain too. */
  readonly search?: SessionSearch | null;
}

/** Limits of the sessions and messages that a search first reads one by one. */
const WALKED_SESSIONS = 40;
const WALKED_MESSAGES = 1_000;

/** A list of sessions with a parent: the children of a session, or the sessions of an agent. */
export interface NestedSessionList extends SessionList {
  readonly by: keyof typeof PARENTS;
}

const PARENTS = {
  session: { column: Prisma.sql`s.parent_id`, type: Prisma.raw('uuid') },
  agent: { column: Prisma.sql`a.agent_id`, type: Prisma.raw('text') },
} as const;

type ReadSession = SessionRow & WithCursor;

/** A session that a search has checked: whether its own texts or newest messages contain the term. */
type CheckedSession = ReadSession & { readonly found: boolean };

/**
 * Marks the statement of a list as prepared if no filter of the caller is part of it. The best plan of a filtered list depends on the
 * filter's values, which a prepared statement is planned without: among 300,000 sessions, a page of a rare status or kind took 2 s instead
 * of 1 ms after eight pages of a common one.
 */
function preparedUnlessFiltered({ conditions }: Pick<SessionList, 'conditions'>): Sql {
  return conditions.every(({ values }) => values.length === 0) ? Prisma.raw(PREPARED) : Prisma.empty;
}

/**
 * A SELECT of one page. It finds the ids of the page first and then reads their sessions, except for the first page of an indexed order.
 * - Without an index, Postgres sorts the whole list. It stops a sort of ids at the size of the page, but writes a sort of joined rows to disk.
 * - Behind a cursor, a prepared statement does not know how many rows follow. With a join, Postgres would plan it for each execution.
 *   In the default order, the index gives whole rows of activity, which are not read twice.
 */
function selectPage(columns: Sql, conditions: Sql, ordering: SessionOrdering, window: PageWindow): Sql {
  const inOrder = Prisma.sql`order by ${orderList(ordering, window)} limit ${pageLimit(window)}`;
  if (ordering.hasIndex && window.after === null && window.before === null) {
    return Prisma.sql`select ${columns} from ${SESSIONS} where ${conditions} ${inOrder}`;
  }
  if (ordering.hasIndex && ordering.isOnActivity) {
    return Prisma.sql`select ${columns} from (select a.xmin, a.* from ${ACTIVITIES} where ${conditions} ${inOrder}) a
      cross join lateral (select xmin, * from aria_engine.chat_sessions where id = a.session_id offset 0) s order by ${orderList(ordering, window)}`;
  }
  const named = namedOrder(ordering, window);
  return Prisma.sql`select ${columns} from (
      select a.session_id as id, ${named.columns} from ${ordering.isOnActivity ? ACTIVITIES : SESSIONS} where ${conditions} ${inOrder}
    ) listed ${lookUpSession(Prisma.sql`listed.id`)} order by ${named.order}`;
}

/** Reads sessions for one operation. Equal loads of the operation share a statement. */
export class SessionLoader {
  readonly #database: Executor;
  readonly #visible: Sql;
  readonly #groups: readonly (readonly [string, Sql])[];
  readonly #byId = new LoaderSet<string, SessionRow | null>();
  readonly #pages = new LoaderSet<string, Page<SessionRow>>();
  readonly #counts = new LoaderSet<string, number>();
  readonly #rights: string;
  readonly #readByKeys: KeyedRead<string, SessionRow | null>;

  /** @param readByKeys reads sessions by id; shares statements with other operations if the caller wants that */
  constructor(database: Executor, viewer: Viewer, readByKeys: KeyedRead<string, SessionRow | null> = readAlone(database)) {
    this.#database = database;
    this.#rights = rightsOf(viewer);
    this.#readByKeys = readByKeys;
    this.#visible = visibleAgents(viewer, Prisma.sql`a.agent_id`);
    this.#groups = [...GROUPS, ['depth', depthColumn(viewer)]];
  }

  #columns(groups: readonly string[]): Sql {
    return Prisma.join(this.#groups.flatMap(([name, list]) => (name === 'core' || groups.includes(name) ? [list] : [])));
  }

  /** The session with this UUID, also from the trash. Null if it does not exist or the viewer may not see it. */
  byId(id: string, groups: readonly string[]): Promise<SessionRow | null> {
    const variant = `${groups.join()} ${this.#rights}`;
    return this.#byId
      .of(groups.join(), ids => this.#readByKeys(variant, ids, (from, keys) => this.#readByIds(from, keys, groups)))
      .load(id);
  }

  /** One page of a list, in one statement; with a search, in at most four. An empty page takes no statement. */
  async page(list: SessionList, window: PageWindow, groups: readonly string[]): Promise<Page<SessionRow>> {
    if (window.limit === 0) return emptyPage(window);
    const columns = pageColumns(this.#columns(groups), list.ordering, groups);
    const { search } = list;
    const rows =
      search == null ? this.#listed(columns, list, window) : searchList(this.#database, this.#search(columns, search, list, window));
    return toPage(await rows, window, list.ordering);
  }

  /** The rows of a window. */
  #listed(columns: Sql, list: SessionList, window: PageWindow): Promise<ReadSession[]> {
    const conditions = allOf([this.#visible, ...list.conditions, ...keysetConditions(list.ordering, window)]);
    return this.#database.rows(Prisma.sql`${preparedUnlessFiltered(list)} ${selectPage(columns, conditions, list.ordering, window)}`);
  }

  /** The rows of a window of a list with a search. */
  #search(columns: Sql, search: SessionSearch, { ordering }: SessionList, window: PageWindow): ListSearch<ReadSession> {
    const inOrder = orderList(ordering, window);
    const conditions = allOf([this.#visible, ...search.rest, ...keysetConditions(ordering, window)]);
    const prepared = preparedUnlessFiltered({ conditions: search.rest });
    const newest = Prisma.raw(String(search.newest));
    // Named, so that the planner sees that the sessions come in order, and stops when the page is full.
    const named = namedOrder(ordering, window);
    return {
      limit: rowsToRead(window),
      walk: async times => {
        const rows = await this.#database.rows<CheckedSession>(Prisma.sql`${prepared}
          select ${columns}, checked.found from (
            select s.id, ${named.columns}, sum(least(a.message_count, ${newest})) over (order by ${inOrder} rows unbounded preceding) as messages
            from ${SESSIONS} where ${conditions} order by ${inOrder} limit ${Prisma.raw(String(WALKED_SESSIONS * times))}
          ) listed ${lookUpSession(Prisma.sql`listed.id`)} cross join lateral (select ${search.foundInNewest} as found offset 0) checked
          where listed.messages <= ${Prisma.raw(String(WALKED_MESSAGES * times))} and (checked.found or a.next_position > ${newest} + 1)
          order by ${named.order} limit ${pageLimit(window)}`);
        // If a session has older messages that were not checked, it may match or not. What follows it cannot be used, so that the order stays right.
        const end = rows.findIndex(row => !row.found);
        return end === -1 ? rows : rows.slice(0, end);
      },
      useIndex: () =>
        this.#database.rows(Prisma.sql`${search.preparedMatches === null ? Prisma.empty : prepared}
          with match as materialized (select distinct id from (${search.preparedMatches ?? search.matches}) match)
          select ${columns} from match ${lookUpSession(Prisma.sql`match.id`)}
          where ${conditions} order by ${inOrder} limit ${pageLimit(window)}`),
      matches: search.matches,
    };
  }

  /** Number of sessions in a list. */
  async count(list: Pick<SessionList, 'conditions'>): Promise<number> {
    const conditions = allOf([this.#visible, ...list.conditions]);
    const statement = Prisma.sql`select count(*)::int as count from ${ACTIVITIES} where ${conditions}`;
    const [row] = await this.#database.rows<{ count: number }>(statement);
    return row?.count ?? 0;
  }

  /** One page of a parent's sessions. Loads with the same list and window share a statement. */
  pageOf(parent: string, list: NestedSessionList, window: PageWindow, groups: readonly string[]): Promise<Page<SessionRow>> {
    if (window.limit === 0) return Promise.resolve(emptyPage(window));
    const variant = JSON.stringify([list.by, list.ordering.fingerprint, window, groups]);
    return this.#pages.of(variant, parents => this.#readNested(parents, list, window, groups)).load(parent);
  }

  /** Number of sessions in a parent's list. Loads with the same list share a statement. */
  countOf(parent: string, list: NestedSessionList): Promise<number> {
    return this.#counts.of(JSON.stringify([list.by, list.ordering.fingerprint]), parents => this.#countNested(parents, list)).load(parent);
  }

  async #readByIds(from: Executor, ids: readonly string[], groups: readonly string[]): Promise<(SessionRow | null)[]> {
    const conditions = allOf([Prisma.sql`s.id = any((select ${[...ids]}::uuid[])::uuid[])`, this.#visible]);
    const rows = await from.rows<SessionRow>(
      Prisma.sql`${Prisma.raw(PREPARED)} select ${this.#columns(groups)} from ${SESSIONS} where ${conditions}`,
    );
    return byKey(ids, rows, row => row.id);
  }

  async #readNested(
    parents: readonly string[],
    list: NestedSessionList,
    window: PageWindow,
    groups: readonly string[],
  ): Promise<Page<SessionRow>[]> {
    const { column, type } = PARENTS[list.by];
    const conditions = allOf([
      Prisma.sql`${column} = parent.id`,
      this.#visible,
      ...list.conditions,
      ...keysetConditions(list.ordering, window),
    ]);
    const rows = await this.#database.rows<ReadSession & OfParent>(Prisma.sql`${preparedUnlessFiltered(list)}
      select session.*, parent.place::int as "listParent" from unnest((select ${[...parents]}::${type}[])) with ordinality parent(id, place) cross join lateral (
        ${selectPage(pageColumns(this.#columns(groups), list.ordering, groups), conditions, list.ordering, window)}
      ) session`);
    return pagesByParent(parents, rows, window, list.ordering);
  }

  async #countNested(parents: readonly string[], list: NestedSessionList): Promise<number[]> {
    const { column, type } = PARENTS[list.by];
    const conditions = allOf([Prisma.sql`${column} = any(${[...parents]}::${type}[])`, this.#visible, ...list.conditions]);
    const rows = await this.#database.rows<{ parent: string; count: number }>(Prisma.sql`
      select ${column} as parent, count(*)::int as count from ${ACTIVITIES} where ${conditions} group by ${column}`);
    return byKey(parents, rows, row => row.parent).map(row => row?.count ?? 0);
  }
}
