import type { Context } from '../context.ts';
import { DomainError } from '../errors.ts';
import type { AgentRow } from '../modules/agent/agent.loader.ts';
import type { ApiKeyRow } from '../modules/api-key/api-key.loader.ts';
import { parseApiKeyId, parseGlobalId, parseMessageId, parseSessionId } from '../modules/global-id/global-id.rules.ts';
import type { MessageRow } from '../modules/message/message.loader.ts';
import type { SessionRow } from '../modules/session/session.loader.ts';
import { builder } from './builder.ts';
import { columnGroups } from './look-ahead.ts';

/** Whatever has a global id. */
export type NodeRow = SessionRow | MessageRow | AgentRow | ApiKeyRow;

const MAX_NODES = 100;

/** Relay's Node. */
export const Node = builder.interfaceRef<NodeRow>('Node').implement({
  description: 'An object with a global id, after the Relay object identification specification.',
  fields: t => ({ id: t.id({ description: 'Opaque; `node` finds the object by it.' }) }),
  resolveType: row => ('position' in row ? 'Message' : 'status' in row ? 'Session' : 'prefix' in row ? 'ApiKey' : 'Agent'),
});

async function find(id: string, context: Context, groups: readonly string[]): Promise<NodeRow | null> {
  const parsed = parseGlobalId(id);
  switch (parsed?.type) {
    case 'Session': {
      const sessionId = parseSessionId(id);
      return sessionId === null ? null : context.load.sessions.byId(sessionId, groups);
    }
    case 'Message': {
      const parts = parseMessageId(id);
      if (parts === null) return null;
      const message = await context.load.messages.byId(parts.messageId, groups);
      return message?.sessionId === parts.sessionId ? message : null;
    }
    case 'ApiKey': {
      const apiKeyId = parseApiKeyId(id);
      return apiKeyId === null ? null : context.load.apiKeys.byId(apiKeyId);
    }
    case 'Agent':
      return context.load.agents.byId(parsed.rest);
    default:
      return null;
  }
}

builder.queryFields(t => ({
  node: t.field({
    type: Node,
    nullable: true,
    description: 'The object of a global id; null where there is none or it may not be seen.',
    args: { id: t.arg.id({ required: true }) },
    extensions: { scope: 'READ' },
    resolve: (_root, { id }, context, info) => find(id, context, columnGroups(info, [[]])),
  }),
  nodes: t.field({
    type: [Node],
    nullable: { list: false, items: true },
    description: `The objects of up to ${MAX_NODES} global ids, in their order; null for each that is not found.`,
    args: { ids: t.arg.idList({ required: true }) },
    extensions: { scope: 'READ' },
    resolve: (_root, { ids }, context, info) => {
      if (ids.length > MAX_NODES) {
        throw new DomainError('PAGE_SIZE_TOO_LARGE', `nodes takes at most ${MAX_NODES} ids.`, {
          field: 'ids',
          requested: ids.length,
          max: MAX_NODES,
        });
      }
      const groups = columnGroups(info, [[]]);
      return Promise.all(ids.map(id => find(id, context, groups)));
    },
  }),
}));
