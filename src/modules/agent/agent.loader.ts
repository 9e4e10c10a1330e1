import DataLoader from 'dataloader';
import { Prisma } from '../../generated/prisma/client.ts';
import { byKey } from '../../postgres/batching.ts';
import { type Executor, PREPARED, type Sql } from '../../postgres/database.ts';
import {
  allOf,
  cursorColumn,
  emptyPage,
  keysetConditions,
  type Ordering,
  orderList,
  type Page,
  type PageWindow,
  rowsToRead,
  toPage,
  type WithCursor,
} from '../../postgres/keyset.ts';
import { OPEN_STATUSES } from '../session/session.rules.ts';
import { LISTED } from '../session-filter/session-filter.sql.ts';
import type { UsageRow } from '../usage/usage.rules.ts';
import { USAGE_SUMS } from '../usage/usage.sql.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';

/** An agent: there is one for each agent id that a listed session has. */
export interface AgentRow {
  readonly agentId: string;
}

/** What an agent's listed sessions come to. */
export interface AgentFigures extends UsageRow {
  readonly agentId: string;
  readonly sessionCount: number;
  readonly openSessionCount: number;
  readonly lastActivityAt: string;
}

/** Agents by their id. */
export const AGENT_ORDERING: Ordering = {
  terms: [{ expression: Prisma.sql`a.agent_id`, type: 'text', descending: false }],
  fingerprint: 'agents',
};

/** The window of all agents; its limit is not looked at. */
const WHOLE: PageWindow = { limit: 0, inverted: false, after: null, before: null };

/** Reads agents for one request; equal loads within it share a statement. */
export class AgentLoader {
  readonly #database: Executor;
  readonly #visible: Sql;
  readonly #figures: DataLoader<string, AgentFigures | null>;
  readonly #byId: DataLoader<string, AgentRow | null>;

  constructor(database: Executor, viewer: Viewer) {
    this.#database = database;
    this.#visible = visibleAgents(viewer, Prisma.sql`a.agent_id`);
    this.#figures = new DataLoader(agentIds => this.#readFigures(agentIds));
    this.#byId = new DataLoader(agentIds => this.#readByIds(agentIds));
  }

  /** The agent, null where it has no session that may be seen. */
  byId(agentId: string): Promise<AgentRow | null> {
    // Postgres takes no NUL, and no agent has one.
    return agentId.includes('\0') ? Promise.resolve(null) : this.#byId.load(agentId);
  }

  /** Counts and sums over an agent's listed sessions, null where it has none; one statement for all agents asked. */
  figures(agentId: string): Promise<AgentFigures | null> {
    return this.#figures.load(agentId);
  }

  /** One page of agents; each costs one look into the index, however many sessions it has. */
  async page(window: PageWindow): Promise<Page<AgentRow>> {
    if (window.limit === 0) return emptyPage(window);
    const rows = await this.#database.rows<AgentRow & WithCursor>(Prisma.sql`
      with recursive ${this.#found(window)}
      select a.agent_id as "agentId", ${cursorColumn(AGENT_ORDERING)} from found a where a.agent_id is not null limit ${rowsToRead(window)}`);
    return toPage(rows, window, AGENT_ORDERING);
  }

  /** How many agents have a session that may be seen; each costs one look into the index. */
  async count(): Promise<number> {
    const [row] = await this.#database.rows<{ count: number }>(Prisma.sql`
      with recursive ${this.#found(WHOLE)} select count(a.agent_id)::int as count from found a`);
    return row?.count ?? 0;
  }

  /** The agents of a window one after the other, as a recursive query `found(agent_id)`; a null may end it. */
  #found(window: PageWindow): Sql {
    const step = (conditions: readonly Sql[]) => Prisma.sql`select a.agent_id from aria_engine.chat_session_activity a
      where ${allOf([LISTED, this.#visible, ...conditions])} order by ${orderList(AGENT_ORDERING, window)} limit 1`;
    const further = window.inverted ? Prisma.sql`a.agent_id < found.agent_id` : Prisma.sql`a.agent_id > found.agent_id`;
    const bounds = keysetConditions(AGENT_ORDERING, window);
    return Prisma.sql`found(agent_id) as (
      (${step(bounds)})
      union all
      select (${step([...bounds, further])}) from found where found.agent_id is not null
    )`;
  }

  async #readByIds(agentIds: readonly string[]): Promise<(AgentRow | null)[]> {
    const rows = await this.#database.rows<AgentRow>(Prisma.sql`${Prisma.raw(PREPARED)}
      select wanted.agent_id as "agentId" from unnest(${[...agentIds]}::text[]) wanted(agent_id)
      where exists (select from aria_engine.chat_session_activity a where a.agent_id = wanted.agent_id and a.listed and ${this.#visible})`);
    return byKey(agentIds, rows, row => row.agentId);
  }

  async #readFigures(agentIds: readonly string[]): Promise<(AgentFigures | null)[]> {
    const rows = await this.#database.rows<AgentFigures>(Prisma.sql`${Prisma.raw(PREPARED)}
      select a.agent_id as "agentId", count(*)::int as "sessionCount",
        count(*) filter (where s.status = any(${[...OPEN_STATUSES]}::aria_engine.session_status[]))::int as "openSessionCount",
        max(a.last_activity_at)::text as "lastActivityAt", ${USAGE_SUMS}
      from aria_engine.chat_session_activity a join aria_engine.chat_sessions s on s.id = a.session_id
      where a.agent_id = any(${[...agentIds]}::text[]) and ${LISTED} and ${this.#visible} group by a.agent_id`);
    return byKey(agentIds, rows, row => row.agentId);
  }
}
