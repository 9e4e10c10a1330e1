import { agentGlobalId, parseAgentId } from '../../global-id.ts';
import { builder } from '../../graphql/builder.ts';
import { connectionTypes, pagingArguments } from '../../graphql/connection.ts';
import { Node, registerNode } from '../../graphql/node.ts';
import { type PageSize, readWindow } from '../../postgres/keyset.ts';
import { findableAgentId } from '../session-key/session-key.rules.ts';
import { TokenUsage } from '../usage/usage.schema.ts';
import { AGENT_ORDERING, type AgentRow } from './agent.loader.ts';

const AGENT_PAGE: PageSize = { default: 20, max: 100 };

const NO_USAGE = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, totalTokens: 0, costNanoUsd: 0 };

export const Agent = builder.objectRef<AgentRow>('Agent').implement({
  interfaces: [Node],
  description: 'An agent, with counts and sums over its sessions. Trashed and superseded sessions do not count.',
  fields: t => ({
    id: t.id({ description: 'Opaque global id.', resolve: row => agentGlobalId(row.agentId) }),
    agentId: t.string({ resolve: row => row.agentId }),
    sessionCount: t.int({
      description: 'Sessions in any status.',
      resolve: async (row, _args, context) => (await context.load.agents.totals(row.agentId))?.sessionCount ?? 0,
    }),
    openSessionCount: t.int({
      description: 'Sessions that are SPAWNING, ACTIVE, WORKING or STALLED.',
      resolve: async (row, _args, context) => (await context.load.agents.totals(row.agentId))?.openSessionCount ?? 0,
    }),
    usage: t.field({
      type: TokenUsage,
      description: 'The total usage of these sessions. A sum above 2^53 - 1 is shown as 2^53 - 1.',
      resolve: async (row, _args, context) => (await context.load.agents.totals(row.agentId)) ?? NO_USAGE,
    }),
    lastActivityAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'The latest activity in these sessions. Null if there are none.',
      resolve: async (row, _args, context) => (await context.load.agents.totals(row.agentId))?.lastActivityAt ?? null,
    }),
  }),
});

registerNode(Agent, {
  parse: parseAgentId,
  load: (agentId, context) => context.load.agents.byId(agentId),
});

const { Connection: AgentConnection } = connectionTypes('Agent', Agent, { nodes: 'agents' });

builder.queryFields(t => ({
  agents: t.field({
    type: AgentConnection,
    description: 'The agents that have at least one session that the caller may see, sorted by agent id.',
    args: pagingArguments(AGENT_PAGE),
    extensions: { scope: 'READ', pageSize: AGENT_PAGE },
    resolve: async (_root, args, context) => ({
      page: await context.load.agents.page(readWindow(args, AGENT_PAGE, AGENT_ORDERING)),
      count: () => context.load.agents.count(),
    }),
  }),
  agent: t.field({
    type: Agent,
    nullable: true,
    description:
      'An agent by its id, which is normalised like the agent id in a session key. Null if it has no session that the caller may see.',
    args: { agentId: t.arg.string({ required: true }) },
    extensions: { scope: 'READ' },
    resolve: (_root, { agentId }, context) => {
      const id = findableAgentId(agentId);
      return id === null ? null : context.load.agents.byId(id);
    },
  }),
}));
