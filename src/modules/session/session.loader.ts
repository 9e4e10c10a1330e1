import { Prisma } from '../../generated/prisma/client.ts';
import { byKey, LoaderSet, type OfParent, pagesByParent } from '../../postgres/batching.ts';
import { type Executor, PREPARED, type Sql } from '../../postgres/database.ts';
import {
  allOf,
  emptyPage,
  keysetConditions,
  type Ordering,
  orderList,
  type Page,
  type PageWindow,
  pageColumns,
  rowsToRead,
  toPage,
  type WithCursor,
} from '../../postgres/keyset.ts';
import { type KeyedRead, readAlone } from '../../postgres/shared-reads.ts';
import type { SessionSearch } from '../session-filter/session-search.sql.ts';
import type { SessionKind } from '../session-key/session-key.rules.ts';
import type { UsageRow } from '../usage/usage.rules.ts';
import { USAGE_COLUMNS } from '../usage/usage.sql.ts';
import { rightsOf, type Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import type { SessionPriority, SessionStatus } from './session.rules.ts';

/**
 * A session as read, columns of groups that were not asked for being absent.
 * Instants are Postgres' text in UTC, counts are numbers.
 */
export interface SessionRow extends Partial<SessionDetails>, Partial<UsageRow> {
  readonly id: string;
  readonly agentId: string;
  readonly status: SessionStatus;
  readonly title: string;
  readonly messageCount: number;
  readonly updatedAt: string;
  readonly lastActivityAt: string;
}

/** Columns read only where a field needs them, by group. */
interface SessionDetails {
  readonly key: string | null;
  readonly kind: SessionKind;
  readonly type: string;
  readonly label: string | null;
  readonly parentId: string | null;
  readonly version: number;
  readonly createdAt: string;
  readonly startedAt: string;
  readonly lastMessageAt: string | null;
  readonly endedAt: string | null;
  readonly deletedAt: string | null;
  readonly externalId: string | null;
  readonly statusReason: string | null;
  readonly givenTitle: string | null;
  readonly displayName: string | null;
  readonly subject: string | null;
  readonly category: string | null;
  readonly tags: readonly string[];
  readonly channel: string | null;
  readonly nodeId: string | null;
  readonly outputPath: string | null;
  readonly priority: SessionPriority;
  readonly tokenLimit: number | null;
  readonly model: string | null;
  readonly modelProvider: string | null;
  readonly compactionCount: number;
  readonly expectedCompletionAt: string | null;
  readonly archivedAt: string | null;
  readonly pinnedAt: string | null;
  readonly supersededAt: string | null;
  readonly task: string | null;
  readonly prompt: string | null;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly settingsExtra: unknown;
  readonly origin: Readonly<Record<string, string>> | null;
  readonly delivery: Readonly<Record<string, string>> | null;
  readonly metadata: unknown;
  readonly progressPercent: number;
  readonly tasksCompleted: number | null;
  readonly tasksTotal: number | null;
  readonly currentTask: string | null;
  readonly depth: number;
  /** Another one after each write of the row. */
  readonly stamp: string;
}

const CORE = Prisma.sql`s.id, s.agent_id as "agentId", s.status, s.title, a.message_count as "messageCount",
  a.updated_at::text as "updatedAt", a.last_activity_at::text as "lastActivityAt"`;

/** The column groups of a session beyond the core. The set is closed, so that the texts of the loaders' statements are. */
const GROUPS = {
  identity: Prisma.sql`s.key, s.kind, s.type, s.label, s.parent_id as "parentId", s.version`,
  times: Prisma.sql`s.created_at::text as "createdAt", s.started_at::text as "startedAt", a.last_message_at::text as "lastMessageAt",
  s.ended_at::text as "endedAt", s.deleted_at::text as "deletedAt"`,
  details: Prisma.sql`s.external_id as "externalId", s.status_reason as "statusReason", s.given_title as "givenTitle", s.display_name as "displayName",
  s.subject, s.category, s.tags, s.channel, s.node_id as "nodeId", s.output_path as "outputPath", s.priority, s.token_limit as "tokenLimit",
  s.model, s.model_provider as "modelProvider", s.compaction_count as "compactionCount", s.expected_completion_at::text as "expectedCompletionAt",
  s.archived_at::text as "archivedAt", s.pinned_at::text as "pinnedAt", s.superseded_at::text as "supersededAt"`,
  texts: Prisma.sql`s.task, s.prompt`,
  json: Prisma.sql`s.settings, s.origin, s.delivery, s.metadata`,
  extra: Prisma.sql`s.settings_extra as "settingsExtra"`,
  usage: USAGE_COLUMNS,
  progress: Prisma.sql`a.progress_percent as "progressPercent", a.tasks_completed as "tasksCompleted", a.tasks_total as "tasksTotal", a.current_task as "currentTask"`,
  // The transactions that wrote the two rows: unlike `updated_at`, two of them in one millisecond differ.
  stamp: Prisma.sql`concat(s.xmin, '.', a.xmin) as "stamp"`,
} as const;

/** How many ancestors exist for the viewer; it ends at the first one that does not. */
function depthColumn(viewer: Viewer): Sql {
  const visible = viewer.agentIds === null ? Prisma.empty : Prisma.sql` and ${visibleAgents(viewer, Prisma.sql`p.agent_id`)}`;
  return Prisma.sql`(with recursive lineage(id, depth) as (
    select s.parent_id, 0 where s.parent_id is not null
    union all select p.parent_id, l.depth + 1 from lineage l join aria_engine.chat_sessions p on p.id = l.id${visible}
  ) select coalesce(max(depth), 0) from lineage) as "depth"`;
}

/** Name of a column group of a session; fields name theirs in the `columns` extension. */
export type SessionColumns = keyof typeof GROUPS | 'depth';

const SESSIONS = Prisma.sql`aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id`;

/** The same rows for counting: Postgres leaves out `s` where no condition names it, which it cannot do with an inner join. */
const COUNTED = Prisma.sql`aria_engine.chat_session_activity a left join aria_engine.chat_sessions s on s.id = a.session_id`;

/** A list of sessions: what it holds, in what order. Conditions are on the tables `s` (chat_sessions) and `a` (its activity). */
export interface SessionList {
  readonly conditions: readonly Sql[];
  readonly ordering: Ordering;
  /** The search that is among the conditions, taken apart. */
  readonly search?: SessionSearch | null;
}

/** How far into a list a search reads messages one by one before it asks the index: some milliseconds' worth. */
const NEAR_SESSIONS = 200;
const NEAR_MESSAGES = 3_000;

/** A list of sessions under a parent: the children of a session, or the sessions of an agent. */
export interface NestedSessionList extends SessionList {
  readonly by: keyof typeof PARENTS;
}

const PARENTS = {
  session: { column: Prisma.sql`s.parent_id`, type: Prisma.raw('uuid') },
  agent: { column: Prisma.sql`a.agent_id`, type: Prisma.raw('text') },
} as const;

type ReadSession = SessionRow & WithCursor;

/** Reads sessions for one request; equal loads within it share a statement. */
export class SessionLoader {
  readonly #database: Executor;
  readonly #visible: Sql;
  readonly #groups: Readonly<Record<SessionColumns, Sql>>;
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
    this.#groups = { ...GROUPS, depth: depthColumn(viewer) };
  }

  #columns(groups: readonly string[]): Sql {
    const asked = Object.entries(this.#groups).flatMap(([name, list]) => (groups.includes(name) ? [list] : []));
    return Prisma.join([CORE, ...asked]);
  }

  /** A session by its UUID, in the trash or not; null where there is none or it may not be seen. */
  byId(id: string, groups: readonly string[]): Promise<SessionRow | null> {
    const about = `${groups.join()} ${this.#rights}`;
    return this.#byId.of(groups.join(), ids => this.#readByKeys(about, ids, (from, keys) => this.#readByIds(from, keys, groups))).load(id);
  }

  /** One page of a list: one statement, none where nothing is asked for. */
  async page(list: SessionList, window: PageWindow, groups: readonly string[]): Promise<Page<SessionRow>> {
    if (window.limit === 0) return emptyPage(window);
    const shown = pageColumns(this.#columns(groups), list.ordering, groups);
    const { search } = list;
    const statement = search == null ? this.#part(shown, list.conditions, list, window) : this.#searched(shown, search, list, window);
    return toPage(await this.#database.rows<ReadSession>(statement), window, list.ordering);
  }

  /** The rows of a window, under these conditions. */
  #part(shown: Sql, conditions: readonly Sql[], { ordering }: SessionList, window: PageWindow): Sql {
    return Prisma.sql`select ${shown} from ${SESSIONS}
      where ${allOf([this.#visible, ...conditions, ...keysetConditions(ordering, window)])}
      order by ${orderList(ordering, window)} limit ${rowsToRead(window)}`;
  }

  /**
   * The same for a list with a search: where the term is common, the first sessions of the list, whose messages are read one by
   * one, fill the page at once; the index of all messages, which would first gather every hit there is, is asked only where not.
   * What lies behind a session that cannot be told so does not count, for it might come before.
   */
  #searched(shown: Sql, { rest, foundInNewest, newest }: SessionSearch, list: SessionList, window: PageWindow): Sql {
    const inOrder = orderList(list.ordering, window);
    const candidates = allOf([this.#visible, ...rest, ...keysetConditions(list.ordering, window)]);
    const filled = Prisma.sql`(select count(*) from near) >= ${rowsToRead(window)}`;
    return Prisma.sql`with candidate as materialized (
        select s.id, a.next_position > ${newest}::int + 1 as long, row_number() over by_order as place,
          sum(least(a.message_count, ${newest}::int)) over by_order as messages
        from ${SESSIONS} where ${candidates} window by_order as (order by ${inOrder} rows unbounded preceding) order by ${inOrder} limit ${NEAR_SESSIONS}
      ), told as materialized (
        select s.id, candidate.place, candidate.long, ${foundInNewest} as found
        from candidate join ${SESSIONS} on s.id = candidate.id where candidate.messages <= ${NEAR_MESSAGES}
      ), near as materialized (
        select id from (select id, place, found, bool_or(long and not found) over (order by place) as unsure from told) told
        where found and not unsure order by place limit ${rowsToRead(window)}
      ), found as (
        select id from near where ${filled}
        union all
        select id from (${this.#part(Prisma.sql`s.id`, list.conditions, list, window)}) far where not (${filled})
      )
      select ${shown} from found join ${SESSIONS} on s.id = found.id order by ${inOrder}`;
  }

  /** How many sessions a list holds for the viewer. */
  async count(list: Pick<SessionList, 'conditions'>): Promise<number> {
    const conditions = allOf([this.#visible, ...list.conditions]);
    const statement = Prisma.sql`select count(*)::int as count from ${COUNTED} where ${conditions}`;
    const [row] = await this.#database.rows<{ count: number }>(statement);
    return row?.count ?? 0;
  }

  /** The page of one parent's sessions; one statement for all parents asked with the same list and window. */
  pageOf(parent: string, list: NestedSessionList, window: PageWindow, groups: readonly string[]): Promise<Page<SessionRow>> {
    if (window.limit === 0) return Promise.resolve(emptyPage(window));
    const variant = JSON.stringify([list.by, list.ordering.fingerprint, window, groups]);
    return this.#pages.of(variant, parents => this.#readNested(parents, list, window, groups)).load(parent);
  }

  /** How many sessions one parent's list holds; one statement for all parents asked with the same list. */
  countOf(parent: string, list: NestedSessionList): Promise<number> {
    return this.#counts.of(JSON.stringify([list.by, list.ordering.fingerprint]), parents => this.#countNested(parents, list)).load(parent);
  }

  async #readByIds(from: Executor, ids: readonly string[], groups: readonly string[]): Promise<(SessionRow | null)[]> {
    const conditions = allOf([Prisma.sql`s.id = any(${[...ids]}::uuid[])`, this.#visible]);
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
    const rows = await this.#database.rows<ReadSession & OfParent>(Prisma.sql`
      select session.*, parent.id as "listParent" from unnest(${[...parents]}::${type}[]) parent(id) cross join lateral (
        select ${pageColumns(this.#columns(groups), list.ordering, groups)} from ${SESSIONS}
        where ${conditions} order by ${orderList(list.ordering, window)} limit ${rowsToRead(window)}
      ) session`);
    return pagesByParent(parents, rows, window, list.ordering);
  }

  async #countNested(parents: readonly string[], list: NestedSessionList): Promise<number[]> {
    const { column, type } = PARENTS[list.by];
    const conditions = allOf([Prisma.sql`${column} = any(${[...parents]}::${type}[])`, this.#visible, ...list.conditions]);
    const rows = await this.#database.rows<{ parent: string; count: number }>(Prisma.sql`
      select ${column} as parent, count(*)::int as count from ${COUNTED} where ${conditions} group by ${column}`);
    return byKey(parents, rows, row => row.parent).map(row => row?.count ?? 0);
  }
}
