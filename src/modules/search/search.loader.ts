import { Prisma } from '../../generated/prisma/client.ts';
import type { Executor, Sql } from '../../postgres/database.ts';
import {
  allOf,
  cursorColumn,
  emptyPage,
  fingerprintOf,
  keysetConditions,
  type Ordering,
  orderList,
  type Page,
  type PageWindow,
  rowsToRead,
  toPage,
} from '../../postgres/keyset.ts';
import { type MessageRow, messageColumns } from '../message/message.loader.ts';
import { ACTIVE_MESSAGE, roleCondition } from '../message/message-filter.sql.ts';
import { rangeConditions, sessionConditions } from '../session-filter/session-filter.sql.ts';
import { containsText, foldedText } from '../text/text.sql.ts';
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

/**
 * Number of newest messages that are scanned before the text index is used. If the words are common, the scan fills the page immediately,
 * while the index would first collect all matches.
 */
const RECENT_MESSAGES = 1_500;

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
   * One page of results, with one statement.
   * @param groups column groups of the messages; `snippet` for the text around the matches
   * @throws DomainError BAD_USER_INPUT if the session filter is invalid
   */
  async page(search: Search, window: PageWindow, groups: readonly string[]): Promise<Page<SearchHit>> {
    if (window.limit === 0) return emptyPage(window);
    const ordering = searchOrdering(search);
    const found = search.orderBy === 'NEWEST' ? this.#newest(search, window, ordering) : this.#best(search, window, ordering);
    const relevance = search.orderBy === 'NEWEST' ? Prisma.sql`null::float8` : Prisma.sql`found.score`;
    const snippet = groups.includes('snippet') ? Prisma.sql`, ${snippetColumns(search)}` : Prisma.empty;
    const rows = await this.#database.rows<SearchHit & { readonly cursor: string }>(Prisma.sql`
      with ${found}
      select ${messageColumns(groups)}, found.cursor, ${relevance} as score, ${search.query} as term${snippet}
      from found join aria_engine.chat_messages m on m.session_id = found.session_id and m.position = found.position
      join aria_engine.chat_sessions s on s.id = m.session_id order by found.place`);
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

  /**
   * The newest results. First scans the newest messages, found by the index on their dates. Uses the text index only if these do not fill the
   * page. `offset 0` keeps the planner from scanning by date for rare words.
   */
  #newest(search: Search, window: PageWindow, ordering: Ordering): Sql {
    const conditions = allOf(this.#conditions(search));
    const bounds = [...rangeConditions(Prisma.sql`m.created_at`, search.createdAt), ...keysetConditions(ordering, window)];
    const limit = rowsToRead(window);
    const hits = (source: Sql) => Prisma.sql`
      select m.session_id, m.position, m.created_at, m.id, ${cursorColumn(ordering)} from (${source}) m ${JOINED}
      where ${conditions} and ${matches(search)} order by ${orderList(ordering, window)} limit ${limit}`;
    return Prisma.sql`recent as materialized (
      ${hits(Prisma.sql`select m.* from aria_engine.chat_messages m where ${allOf(bounds)} order by ${orderList(ordering, window)} limit ${RECENT_MESSAGES}`)}
    ), indexed as materialized (
      select * from (
        ${hits(Prisma.sql`select m.* from aria_engine.chat_messages m where ${allOf([matches(search), ...bounds])} offset 0`)}
      ) hit where (select count(*) from recent) < ${limit}
    ), found as (
      select hit.*, row_number() over (order by hit.created_at desc, hit.id desc) as place from (
        select * from recent where (select count(*) from recent) >= ${limit} union all select * from indexed
      ) hit
    )`;
  }

  /** The best results. All matches are scored, so the cost grows with their number. */
  #best(search: Search, window: PageWindow, ordering: Ordering): Sql {
    const inOrder = orderList(ordering, window);
    return Prisma.sql`hit as materialized (
      select m.session_id, m.position, m.created_at, m.id, ${score(search)} as score from aria_engine.chat_messages m ${JOINED}
      where ${allOf([matches(search), ...this.#conditions(search)])}
    ), found as (
      select m.session_id, m.position, m.score, ${cursorColumn(ordering)}, row_number() over (order by ${inOrder}) as place from hit m
      where ${allOf(keysetConditions(ordering, window))} order by ${inOrder} limit ${rowsToRead(window)}
    )`;
  }
}

function tsQuery(search: Search): Sql {
  return Prisma.sql`websearch_to_tsquery('english', ${search.query})`;
}

function matches(search: Search): Sql {
  return search.mode === 'WORDS' ? Prisma.sql`m.words @@ ${tsQuery(search)}` : containsText(Prisma.sql`m.content`, search.query);
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
