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
  description: 'An agent, and what its sessions come to. Counts and sums leave out sessions in the trash and superseded ones.',
  fields: t => ({
    id: t.id({ description: 'Opaque global id.', resolve: row => agentGlobalId(row.agentId) }),
    agentId: t.string({ resolve: row => row.agentId }),
    sessionCount: t.int({
      description: 'Sessions in any status, neither superseded nor in the trash.',
      resolve: async (row, _args, context) => (await context.load.agents.figures(row.agentId))?.sessionCount ?? 0,
    }),
    openSessionCount: t.int({
      description: 'SPAWNING, ACTIVE, WORKING and STALLED ones.',
      resolve: async (row, _args, context) => (await context.load.agents.figures(row.agentId))?.openSessionCount ?? 0,
    }),
    usage: t.field({
      type: TokenUsage,
      description: 'What these sessions used together; sums beyond what JSON can carry are shown as the largest it can.',
      resolve: async (row, _args, context) => (await context.load.agents.figures(row.agentId)) ?? NO_USAGE,
    }),
    lastActivityAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'The newest of these sessions; null without any.',
      resolve: async (row, _args, context) => (await context.load.agents.figures(row.agentId))?.lastActivityAt ?? null,
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
    description: 'The agents that have a session that may be seen, by agent id.',
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
    description: 'An agent by its id, which is read like the agent id of a key; null where it has no session that may be seen.',
    args: { agentId: t.arg.string({ required: true }) },
    extensions: { scope: 'READ' },
    resolve: (_root, { agentId }, context) => {
      const id = findableAgentId(agentId);
      return id === null ? null : context.load.agents.byId(id);
    },
  }),
}));
