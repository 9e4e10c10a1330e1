import { Prisma } from '../../generated/prisma/client.ts';
import { byKey, LoaderSet, MadeForArguments, type OfParent, pagesByParent } from '../../postgres/batching.ts';
import { selectColumns } from '../../postgres/columns/column-sql.ts';
import { type FieldsWith, fieldsWith, type RowOf } from '../../postgres/columns/columns.ts';
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
  type WithCursor,
} from '../../postgres/keyset.ts';
import { type KeyedRead, readAlone } from '../../postgres/shared-reads.ts';
import { rightsOf, type Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import { MESSAGE_COLUMNS, MESSAGE_GROUPS, type MessageGroup } from './message.columns.ts';
import type { StoredPart } from './message.rules.ts';
import { ACTIVE_MESSAGE } from './message-filter.sql.ts';

/** The author of a message. */
export type MessageRole = 'USER' | 'ASSISTANT' | 'SYSTEM' | 'TOOL' | 'OTHER';

type ColumnsOf<Group extends MessageGroup> = RowOf<typeof MESSAGE_COLUMNS, string, FieldsWith<typeof MESSAGE_COLUMNS, { read: Group }>>;

/** A message as it is read for a response; a column is absent if its group was not selected. Timestamps are Postgres' text in UTC. */
export interface MessageRow
  extends ColumnsOf<'core' | 'session'>,
    Partial<Omit<ColumnsOf<Exclude<MessageGroup, 'core' | 'session'>>, 'parts'>> {
  readonly parts?: readonly StoredPart[] | null;
  /** True if the message is in the active view; read with the group `tree`. */
  readonly active?: boolean;
}

/** The SELECT list of each column group. The set is closed, which keeps the number of different statements small. */
const GROUPS: readonly (readonly [MessageGroup, Sql])[] = MESSAGE_GROUPS.map(group => {
  const columns = selectColumns('m', MESSAGE_COLUMNS, fieldsWith(MESSAGE_COLUMNS, 'read', group), 'response');
  return [group, Prisma.join(group === 'tree' ? [...columns, Prisma.sql`${ACTIVE_MESSAGE} as "active"`] : columns)];
});

/** The SELECT list of messages, on the tables `m` (chat_messages) and `s` (chat_sessions): the core, the session and these column groups. */
export function messageColumns(groups: readonly string[]): Sql {
  return columnsOfGroups(['session', ...groups]);
}

function columnsOfGroups(groups: readonly string[]): Sql {
  // A message with a single text part stores only its content. Its parts are made from that.
  const isRead = (group: MessageGroup) => group === 'core' || groups.includes(group) || (group === 'content' && groups.includes('parts'));
  return Prisma.join(GROUPS.flatMap(([group, list]) => (isRead(group) ? [list] : [])));
}

/** A list of a session's messages: its conditions, on the tables `m` (chat_messages) and `s` (chat_sessions), and its order. */
export interface MessageList {
  readonly conditions: readonly Sql[];
  readonly ordering: Ordering;
}

/** The primary key of a message. */
export interface MessagePlace {
  readonly sessionId: string;
  readonly position: number;
}

/** A message of a page, without its session, which is the page's parent. To read the same id for each message takes 7 % of the statement. */
type ReadMessage = Omit<MessageRow, 'sessionId'> & WithCursor & OfParent;

/** The list that the arguments of a field ask for, and the function that reads the page of a session. */
interface AskedMessages {
  readonly list: MessageList;
  readonly pageOf: (sessionId: string) => Promise<Page<MessageRow>>;
}

/** Reads of messages that can share statements with other operations. */
export interface MessageReads {
  readonly byPlace: KeyedRead<MessagePlace, MessageRow | null>;
  readonly ofSession: KeyedRead<string, Page<MessageRow>>;
}

/** Reads messages for one operation. Equal loads of the operation share a statement. */
export class MessageLoader {
  readonly #database: Executor;
  readonly #visible: Sql;
  readonly #byId = new LoaderSet<string, MessageRow | null>();
  readonly #byPlace = new LoaderSet<MessagePlace, MessageRow | null>();
  readonly #last = new LoaderSet<string, MessageRow | null>();
  readonly #ofSession = new LoaderSet<string, Page<MessageRow>>();
  readonly #counts = new LoaderSet<string, number>();
  /** The lists that the fields of sessions ask for, by their arguments. */
  readonly lists = new MadeForArguments<AskedMessages>();
  readonly #rights: string;
  readonly #reads: MessageReads;

  /** @param reads reads messages by key; shares statements with other operations if the caller wants that */
  constructor(database: Executor, viewer: Viewer, reads: MessageReads = { byPlace: readAlone(database), ofSession: readAlone(database) }) {
    this.#database = database;
    this.#visible = visibleAgents(viewer, Prisma.sql`s.agent_id`);
    this.#rights = rightsOf(viewer);
    this.#reads = reads;
  }

  /** The message with this UUID. Null if it does not exist or the viewer may not see its session. */
  byId(id: string, groups: readonly string[]): Promise<MessageRow | null> {
    return this.#byId
      .of(groups.join(), async ids => {
        const rows = await this.#database.rows<MessageRow>(Prisma.sql`${Prisma.raw(PREPARED)} select ${messageColumns(groups)}
          from aria_engine.chat_messages m join aria_engine.chat_sessions s on s.id = m.session_id
          where m.id = any((select ${[...ids]}::uuid[])::uuid[]) and ${this.#visible}`);
        return byKey(ids, rows, row => row.id);
      })
      .load(id);
  }

  /** The message at a position of a session. Null if it does not exist or the viewer may not see the session. */
  byPlace(place: MessagePlace, groups: readonly string[]): Promise<MessageRow | null> {
    const variant = `${groups.join()} ${this.#rights}`;
    return this.#byPlace
      .of(groups.join(), places => this.#reads.byPlace(variant, places, (from, keys) => this.#readByPlaces(from, keys, groups)))
      .load(place);
  }

  async #readByPlaces(from: Executor, places: readonly MessagePlace[], groups: readonly string[]): Promise<(MessageRow | null)[]> {
    const rows = await from.rows<MessageRow>(Prisma.sql`${Prisma.raw(PREPARED)} select ${messageColumns(groups)}
      from unnest((select ${places.map(each => each.sessionId)}::uuid[]), (select ${places.map(each => each.position)}::bigint[]))
        place(session_id, position)
      join aria_engine.chat_messages m on m.session_id = place.session_id and m.position = place.position
      join aria_engine.chat_sessions s on s.id = m.session_id where ${this.#visible}`);
    return byKey(places.map(placeKey), rows, placeKey);
  }

  /** The last active message of a session. Null if it has none. Loads for several sessions share a statement. */
  lastActive(sessionId: string, groups: readonly string[]): Promise<MessageRow | null> {
    return this.#last
      .of(groups.join(), async ids => {
        const rows = await this.#database.rows<MessageRow>(Prisma.sql`${Prisma.raw(PREPARED)} select message.*
          from ${parents(ids)} cross join lateral (
            select ${messageColumns(groups)} from aria_engine.chat_messages m
            where m.session_id = s.id and ${ACTIVE_MESSAGE} order by m.position desc limit 1
          ) message where ${this.#visible}`);
        return byKey(ids, rows, row => row.sessionId);
      })
      .load(sessionId);
  }

  /** The function that reads one page of a session's messages. Loads with the same list and window share a statement. */
  pagesOf(list: MessageList, window: PageWindow, groups: readonly string[]): (sessionId: string) => Promise<Page<MessageRow>> {
    if (window.limit === 0) return async () => emptyPage(window);
    const variant = JSON.stringify([list.ordering.fingerprint, window, groups]);
    // A fingerprint is only a hash of the filter. Other operations must never get rows of another filter, so only lists without one are shared.
    const isUnfiltered = list.conditions.every(({ values }) => values.length === 0);
    const readByKeys: MessageReads['ofSession'] = isUnfiltered ? this.#reads.ofSession : readAlone(this.#database);
    const loader = this.#ofSession.of(variant, ids =>
      readByKeys(`${variant} ${this.#rights}`, ids, async (executor, keys) => {
        const rows = await executor.rows<ReadMessage>(this.#pagesStatement(keys, list, window, groups));
        const messages = rows.map(row => Object.assign(row, { sessionId: keys[row.listParent - 1] ?? '' }));
        return pagesByParent(keys, messages, window, list.ordering);
      }),
    );
    return sessionId => loader.load(sessionId);
  }

  #pagesStatement(ids: readonly string[], list: MessageList, window: PageWindow, groups: readonly string[]): Sql {
    const conditions = allOf([Prisma.sql`m.session_id = s.id`, ...list.conditions, ...keysetConditions(list.ordering, window)]);
    return Prisma.sql`${Prisma.raw(PREPARED)}
      select message.*, parent.place::int as "listParent" from ${parents(ids)} cross join lateral (
        select ${pageColumns(columnsOfGroups(groups), list.ordering, groups)} from aria_engine.chat_messages m
        where ${conditions} order by ${orderList(list.ordering, window)} limit (select ${rowsToRead(window)}::int)
      ) message where ${this.#visible}`;
  }

  /** Number of messages in a session's list. Loads with the same list share a statement. */
  count(sessionId: string, list: MessageList): Promise<number> {
    return this.#counts
      .of(list.ordering.fingerprint, async ids => {
        const rows = await this.#database.rows<{ id: string; count: number }>(Prisma.sql`select s.id, count(*)::int as count
          from aria_engine.chat_sessions s join aria_engine.chat_messages m on m.session_id = s.id
          where ${allOf([Prisma.sql`s.id = any(${[...ids]}::uuid[])`, this.#visible, ...list.conditions])} group by s.id`);
        return byKey(ids, rows, row => row.id).map(row => row?.count ?? 0);
      })
      .load(sessionId);
  }
}

/**
 * The sessions `s` whose messages are read. Join them with a lateral subquery that reads only messages, and limit that by `(select ...)`.
 * If the subquery also joined the session, the planner might read and sort all messages of the session: it would not see that the index
 * already has the order. It might do the same for a limit above the average number of messages, unless it cannot see the limit's value.
 * It cannot see the number of ids either, so that it makes one plan for all executions of a prepared statement.
 */
function parents(ids: readonly string[]): Sql {
  return Prisma.sql`unnest((select ${[...ids]}::uuid[])) with ordinality parent(id, place) join aria_engine.chat_sessions s on s.id = parent.id`;
}

function placeKey(place: MessagePlace): string {
  return `${place.sessionId}:${place.position}`;
}
