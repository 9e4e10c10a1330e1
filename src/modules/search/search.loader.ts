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
  /** What was searched for. */
  readonly term: string;
  /** In WORDS mode, where snippets are asked for: the text around the hits, each between MATCH_START and MATCH_STOP. */
  readonly headline?: string;
  /** With the headline: how the message begins and ends. */
  readonly head?: string;
  readonly tail?: string;
  /** In SUBSTRING mode, where snippets are asked for: the text around the first hit, and whether it was cut off. */
  readonly excerpt?: string;
  readonly cutBefore?: boolean;
  readonly cutAfter?: boolean;
}

/**
 * How many of the newest messages are looked through one by one before the index is asked: where a term is common, a page is
 * found among them at once, and the index would first gather every hit there is.
 */
const RECENT_MESSAGES = 1_500;

const MAX_COUNT = 1_000;

/** Characters shown on either side of a hit. */
const EXCERPT_MARGIN = 90;

const HEADLINE_OPTIONS = `StartSel=${MATCH_START}, StopSel=${MATCH_STOP}, MaxFragments=2, MaxWords=30, MinWords=12, FragmentDelimiter="${FRAGMENT_DELIMITER}"`;

/** Characters of a message's beginning and end that tell whether a headline was cut off there. */
const HEADLINE_END = 1_000;

/** Characters of a message that WORDS looks at; as many as the index holds. */
const INDEXED_LENGTH = 100_000;

const JOINED = Prisma.sql`join aria_engine.chat_sessions s on s.id = m.session_id join aria_engine.chat_session_activity a on a.session_id = m.session_id`;

/** The order of a search's hits; its cursors are bound to the whole search. */
export function searchOrdering(search: Search): Ordering {
  const newest = [
    { expression: Prisma.sql`m.created_at`, type: 'timestamptz', descending: true },
    { expression: Prisma.sql`m.id`, type: 'uuid', descending: true },
  ] as const;
  const best = { expression: Prisma.sql`m.score`, type: 'float8', descending: true } as const;
  return { terms: search.orderBy === 'NEWEST' ? newest : [best, ...newest], fingerprint: fingerprintOf(['search', search]) };
}

/** Finds messages for one request. */
export class SearchLoader {
  readonly #database: Executor;
  readonly #viewer: Viewer;

  constructor(database: Executor, viewer: Viewer) {
    this.#database = database;
    this.#viewer = viewer;
  }

  /**
   * One page of hits: one statement, none where nothing is asked for.
   * @param groups column groups of the messages; `snippet` for the text around the hits
   * @throws DomainError BAD_USER_INPUT for a bad filter of sessions
   */
  async page(search: Search, window: PageWindow, groups: readonly string[]): Promise<Page<SearchHit>> {
    if (window.limit === 0) return emptyPage(window);
    const ordering = searchOrdering(search);
    const found = search.orderBy === 'NEWEST' ? this.#newest(search, window, ordering) : this.#best(search, window, ordering);
    const relevance = search.orderBy === 'NEWEST' ? Prisma.sql`null::float8` : Prisma.sql`found.score`;
    const snippet = groups.includes('snippet') ? Prisma.sql`, ${snippetColumns(search)}` : Prisma.empty;
    const rows = await this.#database.rows<SearchHit & { readonly cursor: readonly string[] }>(Prisma.sql`
      with ${found}
      select ${messageColumns(groups)}, found.cursor, ${relevance} as score, ${search.query} as term${snippet}
      from found join aria_engine.chat_messages m on m.session_id = found.session_id and m.position = found.position
      join aria_engine.chat_sessions s on s.id = m.session_id order by found.place`);
    return toPage(rows, window, ordering);
  }

  /** How many messages a search finds, counted no further than 1,000. */
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
   * The newest hits. First among the newest messages of all, which are read off the index of their dates; the text index is asked
   * only where these do not fill the page. `offset 0` keeps the planner from walking the dates for a rare term.
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

  /** The best hits: all of them are scored, so that a page costs what the term is common. */
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

/** WORDS: Postgres' rank. SUBSTRING: occurrences, those in a short message weighing more. */
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
