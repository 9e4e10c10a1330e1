import { Prisma } from '../../generated/prisma/client.ts';
import { type Executor, PREPARED, type Sql } from '../../postgres/database.ts';
import {
  allOf,
  cursorColumn,
  emptyPage,
  fingerprintOf,
  keysetConditions,
  namedOrder,
  type Ordering,
  orderList,
  type Page,
  type PageWindow,
  pageLimit,
  rowsToRead,
  toPage,
  type WithCursor,
} from '../../postgres/keyset.ts';
import { type MessageRow, messageColumns } from '../message/message.loader.ts';
import { ACTIVE_MESSAGE, roleCondition } from '../message/message-filter.sql.ts';
import { lookUpSession, rangeConditions, sessionConditions } from '../session-filter/session-filter.sql.ts';
import { containsPrepared, containsTerm, containsText, foldedText, hasTrigram } from '../text/text.sql.ts';
import { searchList } from '../text/text-search.loader.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';
import type { Search } from './search.input.ts';
import { FRAGMENT_DELIMITER, MATCH_START, MATCH_STOP } from './search.rules.ts';

/** A message that was found. */
export interface SearchHit extends MessageRow {
  /** Null in NEWEST order. */
  readonly score: number | null;
  /** The search text. */
  readonly term: string;
  /** In WORDS mode, if snippets are selected: the text around the matches, each match between MATCH_START and MATCH_STOP. */
  readonly headline?: string;
  /** With the headline: the beginning and the end of the message. */
  readonly head?: string;
  readonly tail?: string;
  /** In SUBSTRING mode, if snippets are selected: the text around the first match, and whether it was cut off. */
  readonly excerpt?: string;
  readonly cutBefore?: boolean;
  readonly cutAfter?: boolean;
}

/** Number of newest messages that a search first reads one by one. */
const RECENT_MESSAGES = 300;

const MAX_COUNT = 1_000;

/** Characters shown on each side of a match. */
const EXCERPT_MARGIN = 90;

const HEADLINE_OPTIONS = `StartSel=${MATCH_START}, StopSel=${MATCH_STOP}, MaxFragments=2, MaxWords=30, MinWords=12, FragmentDelimiter="${FRAGMENT_DELIMITER}"`;

/** Number of characters of a message's beginning and end that are compared with the headline, to see whether it was cut off. */
const HEADLINE_END = 1_000;

/** Number of characters of a message that WORDS mode searches: as many as the text index contains. */
const INDEXED_LENGTH = 100_000;

const JOINED = Prisma.sql`join aria_engine.chat_sessions s on s.id = m.session_id join aria_engine.chat_session_activity a on a.session_id = m.session_id`;

/** The order of a search's results. Its cursors are valid only for the same search. */
export function searchOrdering(search: Search): Ordering {
  const newest = [
    { expression: Prisma.sql`m.created_at`, type: 'timestamptz', descending: true },
    { expression: Prisma.sql`m.id`, type: 'uuid', descending: true },
  ] as const;
  const best = { expression: Prisma.sql`m.score`, type: 'float8', descending: true } as const;
  return { terms: search.orderBy === 'NEWEST' ? newest : [best, ...newest], fingerprint: fingerprintOf(['search', search]) };
}

/** Searches messages for one operation. */
export class SearchLoader {
  readonly #database: Executor;
  readonly #viewer: Viewer;

  constructor(database: Executor, viewer: Viewer) {
    this.#database = database;
    this.#viewer = viewer;
  }

  /**
   * One page of results, with at most four statements.
   * @param groups column groups of the messages; `snippet` for the text around the matches
   * @throws DomainError BAD_USER_INPUT if the session filter is invalid
   */
  async page(search: Search, window: PageWindow, groups: readonly string[]): Promise<Page<SearchHit>> {
    if (window.limit === 0) return emptyPage(window);
    const ordering = searchOrdering(search);
    const columns = hitColumns(search, groups);
    const rows = await (search.orderBy === 'NEWEST'
      ? this.#newest(search, window, ordering, columns)
      : this.#best(search, window, ordering, columns));
    return toPage(rows, window, ordering);
  }

  /** The number of messages found, at most 1,000. */
  async count(search: Search): Promise<number> {
    const [row] = await this.#database.rows<{ count: number }>(Prisma.sql`
      select count(*)::int as count from (
        select from aria_engine.chat_messages m ${JOINED}
        where ${allOf([matches(search), ...this.#conditions(search)])} limit ${MAX_COUNT}
      ) hit`);
    return row?.count ?? 0;
  }

  #conditions(search: Search): Sql[] {
    return [
      roleCondition(search.roles),
      ...rangeConditions(Prisma.sql`m.created_at`, search.createdAt),
      ...(search.branch === 'ACTIVE' ? [ACTIVE_MESSAGE] : []),
      visibleAgents(this.#viewer, Prisma.sql`s.agent_id`),
      ...sessionConditions(search.sessions, this.#viewer, 'sessions'),
    ];
  }

  #newest(search: Search, window: PageWindow, ordering: Ordering, columns: Sql): Promise<ReadHit[]> {
    const inOrder = orderList(ordering, window);
    const named = namedOrder(ordering, window);
    const bounds = [...rangeConditions(Prisma.sql`m.created_at`, search.createdAt), ...keysetConditions(ordering, window)];
    const conditions = this.#conditions(search);
    const selected = Prisma.sql`${columns}, ${cursorColumn(ordering)}, null::float8 as score`;
    const session = lookUpSession(Prisma.sql`m.session_id`);
    const prepared = search.sessions === null ? Prisma.raw(PREPARED) : Prisma.empty;
    // The planner must see a date range, which may have fewer messages than the text index has matches.
    const isPlain = search.createdAt === null && (search.mode === 'WORDS' || hasTrigram(search.query));
    return searchList(this.#database, {
      limit: rowsToRead(window),
      walk: times =>
        this.#database.rows<ReadHit>(Prisma.sql`${prepared} select ${selected} from (
            select m.* from aria_engine.chat_messages m where ${allOf(bounds)}
            order by ${inOrder} limit ${Prisma.raw(String(RECENT_MESSAGES * times))}
          ) m ${session} where ${allOf([...conditions, matchesWhenRead(search)])} order by ${inOrder} limit ${pageLimit(window)}`),
      // Sorts the places of all matches, and then reads messages and sessions until the page is full. `offset 0` keeps the planner from
      // scanning by date for rare words.
      useIndex: () =>
        this.#database.rows<ReadHit>(Prisma.sql`${isPlain ? prepared : Prisma.empty} select ${selected} from (
            select m.session_id, m.position, ${named.columns} from aria_engine.chat_messages m
            where ${allOf([isPlain ? matchesPrepared(search) : matches(search), ...bounds])} order by ${inOrder} offset 0
          ) listed cross join lateral (
            select * from aria_engine.chat_messages where session_id = listed.session_id and position = listed.position offset 0
          ) m ${session} where ${allOf(conditions)} order by ${named.order} limit ${pageLimit(window)}`),
      matches: Prisma.sql`select from aria_engine.chat_messages m where ${matches(search)}`,
    });
  }

  /** The best results. All matches are scored, so the cost grows with their number. */
  #best(search: Search, window: PageWindow, ordering: Ordering, columns: Sql): Promise<ReadHit[]> {
    const inOrder = orderList(ordering, window);
    return this.#database.rows<ReadHit>(Prisma.sql`
      with hit as materialized (
        select m.session_id, m.position, m.created_at, m.id, ${score(search)} as score from aria_engine.chat_messages m ${JOINED}
        where ${allOf([matches(search), ...this.#conditions(search)])}
      ), found as (
        select m.session_id, m.position, m.score, ${cursorColumn(ordering)}, row_number() over (order by ${inOrder}) as place from hit m
        where ${allOf(keysetConditions(ordering, window))} order by ${inOrder} limit ${rowsToRead(window)}
      )
      select ${columns}, found.cursor, found.score
      from found join aria_engine.chat_messages m on m.session_id = found.session_id and m.position = found.position
      join aria_engine.chat_sessions s on s.id = m.session_id order by found.place`);
  }
}

type ReadHit = SearchHit & WithCursor;

/** The SELECT list of the results, on the tables `m` (chat_messages) and `s` (chat_sessions). */
function hitColumns(search: Search, groups: readonly string[]): Sql {
  const snippet = groups.includes('snippet') ? Prisma.sql`, ${snippetColumns(search)}` : Prisma.empty;
  return Prisma.sql`${messageColumns(groups)}, ${search.query}::text as term${snippet}`;
}

function tsQuery(search: Search): Sql {
  return Prisma.sql`websearch_to_tsquery('english', ${search.query})`;
}

/** The condition of a match, by an index. */
function matches(search: Search): Sql {
  return search.mode === 'WORDS' ? Prisma.sql`m.words @@ ${tsQuery(search)}` : containsText(Prisma.sql`m.content`, search.query);
}

/** The same condition for prepared statements: the planner does not see the text, and so does not plan anew for each. */
function matchesPrepared(search: Search): Sql {
  return search.mode === 'WORDS'
    ? Prisma.sql`m.words @@ (select ${tsQuery(search)})`
    : containsPrepared(Prisma.sql`m.content`, search.query);
}

/** The same condition for messages that are read anyway. */
function matchesWhenRead(search: Search): Sql {
  return search.mode === 'WORDS' ? matchesPrepared(search) : containsTerm(Prisma.sql`m.content`, search.query);
}

/** WORDS: Postgres' rank. SUBSTRING: the number of occurrences; they weigh more in a short message. */
function score(search: Search): Sql {
  if (search.mode === 'WORDS') return Prisma.sql`ts_rank(m.words, ${tsQuery(search)}, 1)::float8`;
  const content = foldedText(Prisma.sql`m.content`);
  const term = foldedText(Prisma.sql`${search.query}`);
  return Prisma.sql`((length(${content}) - length(replace(${content}, ${term}, '')))::float8 / length(${term}) / (1 + ln(1 + length(m.content))))`;
}

function snippetColumns(search: Search): Sql {
  if (search.mode === 'WORDS') {
    const marks = MATCH_START + MATCH_STOP;
    return Prisma.sql`ts_headline('english', translate(left(m.content, ${INDEXED_LENGTH}::int), ${marks}, ''), ${tsQuery(search)}, ${HEADLINE_OPTIONS}) as headline,
      left(m.content, ${HEADLINE_END}::int) as head, right(m.content, ${HEADLINE_END}::int) as tail`;
  }
  const at = Prisma.sql`strpos(${foldedText(Prisma.sql`m.content`)}, ${foldedText(Prisma.sql`${search.query}`)})`;
  const length = 2 * EXCERPT_MARGIN + search.query.length;
  return Prisma.sql`substring(m.content from greatest(1, ${at} - ${EXCERPT_MARGIN}::int) for ${length}::int) as excerpt,
    ${at} > ${EXCERPT_MARGIN + 1}::int as "cutBefore", length(m.content) > greatest(1, ${at} - ${EXCERPT_MARGIN}::int) + ${length}::int - 1 as "cutAfter"`;
}
