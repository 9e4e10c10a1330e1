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

/** An agent. It exists if a listed session (neither trashed nor superseded) has its id. */
export interface AgentRow {
  readonly agentId: string;
}

/** Counts and sums over an agent's listed sessions. */
export interface AgentTotals extends UsageRow {
  readonly agentId: string;
  readonly sessionCount: number;
  readonly openSessionCount: number;
  readonly lastActivityAt: string;
}

/** Agents, sorted by id. */
export const AGENT_ORDERING: Ordering = {
  terms: [{ expression: Prisma.sql`a.agent_id`, type: 'text', descending: false }],
  fingerprint: 'agents',
};

/** All agents. The limit is not used. */
const ALL_AGENTS: PageWindow = { limit: 0, inverted: false, after: null, before: null };

/** Reads agents for one operation. Equal loads share a statement. */
export class AgentLoader {
  readonly #database: Executor;
  readonly #visible: Sql;
  readonly #totals: DataLoader<string, AgentTotals | null>;
  readonly #byId: DataLoader<string, AgentRow | null>;

  constructor(database: Executor, viewer: Viewer) {
    this.#database = database;
    this.#visible = visibleAgents(viewer, Prisma.sql`a.agent_id`);
    this.#totals = new DataLoader(agentIds => this.#readTotals(agentIds));
    this.#byId = new DataLoader(agentIds => this.#readByIds(agentIds));
  }

  /** Null if the agent has no listed session that the viewer may see. */
  byId(agentId: string): Promise<AgentRow | null> {
    // Postgres text cannot contain NUL, so no agent id does.
    return agentId.includes('\0') ? Promise.resolve(null) : this.#byId.load(agentId);
  }

  /** Counts and sums over an agent's listed sessions. Null if it has none. Loads of several agents share a statement. */
  totals(agentId: string): Promise<AgentTotals | null> {
    return this.#totals.load(agentId);
  }

  /** One page of agents. Each costs one index lookup, whatever the number of its sessions. */
  async page(window: PageWindow): Promise<Page<AgentRow>> {
    if (window.limit === 0) return emptyPage(window);
    const rows = await this.#database.rows<AgentRow & WithCursor>(Prisma.sql`
      with recursive ${this.#found(window)}
      select a.agent_id as "agentId", ${cursorColumn(AGENT_ORDERING)} from found a where a.agent_id is not null limit ${rowsToRead(window)}`);
    return toPage(rows, window, AGENT_ORDERING);
  }

  /** The number of agents with a listed session that the viewer may see. Each costs one index lookup. */
  async count(): Promise<number> {
    const [row] = await this.#database.rows<{ count: number }>(Prisma.sql`
      with recursive ${this.#found(ALL_AGENTS)} select count(a.agent_id)::int as count from found a`);
    return row?.count ?? 0;
  }

  /** A recursive query `found(agent_id)` that finds the agents of a window one by one. The last row may be null. */
  #found(window: PageWindow): Sql {
    const step = (conditions: readonly Sql[]) => Prisma.sql`select a.agent_id from aria_engine.chat_session_activity a
      where ${allOf([LISTED, this.#visible, ...conditions])} order by ${orderList(AGENT_ORDERING, window)} limit 1`;
    const next = window.inverted ? Prisma.sql`a.agent_id < found.agent_id` : Prisma.sql`a.agent_id > found.agent_id`;
    const bounds = keysetConditions(AGENT_ORDERING, window);
    return Prisma.sql`found(agent_id) as (
      (${step(bounds)})
      union all
      select (${step([...bounds, next])}) from found where found.agent_id is not null
    )`;
  }

  async #readByIds(agentIds: readonly string[]): Promise<(AgentRow | null)[]> {
    const rows = await this.#database.rows<AgentRow>(Prisma.sql`${Prisma.raw(PREPARED)}
      select wanted.agent_id as "agentId" from unnest(${[...agentIds]}::text[]) wanted(agent_id)
      where exists (select from aria_engine.chat_session_activity a where a.agent_id = wanted.agent_id and a.listed and ${this.#visible})`);
    return byKey(agentIds, rows, row => row.agentId);
  }

  async #readTotals(agentIds: readonly string[]): Promise<(AgentTotals | null)[]> {
    const rows = await this.#database.rows<AgentTotals>(Prisma.sql`${Prisma.raw(PREPARED)}
      select a.agent_id as "agentId", count(*)::int as "sessionCount",
        count(*) filter (where s.status = any(${[...OPEN_STATUSES]}::aria_engine.session_status[]))::int as "openSessionCount",
        max(a.last_activity_at)::text as "lastActivityAt", ${USAGE_SUMS}
      from aria_engine.chat_session_activity a join aria_engine.chat_sessions s on s.id = a.session_id
      where a.agent_id = any(${[...agentIds]}::text[]) and ${LISTED} and ${this.#visible} group by a.agent_id`);
    return byKey(agentIds, rows, row => row.agentId);
  }
}
