import { apiKeyGlobalId, parseApiKeyId } from '../../global-id.ts';
import { builder } from '../../graphql/builder.ts';
import { connectionTypes, pagingArguments } from '../../graphql/connection.ts';
import { Node, registerNode } from '../../graphql/node.ts';
import { type PageSize, readWindow } from '../../postgres/keyset.ts';
import { ApiScopeEnum } from '../viewer/viewer.schema.ts';
import type { CreateApiKeyInput, RateLimitInput } from './api-key.input.ts';
import { API_KEY_ORDERING, type ApiKeyRow } from './api-key.loader.ts';
import { createApiKey, revokeApiKey } from './api-key.service.ts';

const API_KEY_PAGE: PageSize = { default: 20, max: 100 };

const ApiKey = builder.objectRef<ApiKeyRow>('ApiKey').implement({
  interfaces: [Node],
  description: 'An API credential. The secret is returned once, on creation.',
  fields: t => ({
    id: t.id({ description: 'Opaque global id.', resolve: row => apiKeyGlobalId(row.id) }),
    name: t.string({ resolve: row => row.name }),
    prefix: t.string({ description: 'The first characters of the secret, to recognise the key by.', resolve: row => row.prefix }),
    scopes: t.field({
      type: [ApiScopeEnum],
      description: 'As given on creation. Each includes the scopes before it.',
      resolve: row => row.scopes,
    }),
    agentIds: t.stringList({
      nullable: true,
      description: 'The key sees only sessions of these agents. Null for all agents.',
      resolve: row => row.agentIds,
    }),
    createdAt: t.field({ type: 'DateTime', resolve: row => row.createdAt }),
    expiresAt: t.field({ type: 'DateTime', nullable: true, resolve: row => row.expiresAt }),
    lastUsedAt: t.field({ type: 'DateTime', nullable: true, description: 'Accurate to about a minute.', resolve: row => row.lastUsedAt }),
    revokedAt: t.field({ type: 'DateTime', nullable: true, resolve: row => row.revokedAt }),
  }),
});

registerNode(ApiKey, {
  parse: parseApiKeyId,
  load: (id, context) => context.load.apiKeys.byId(id),
});

const { Connection: ApiKeyConnection } = connectionTypes('ApiKey', ApiKey, { nodes: 'API keys' });

builder.queryField('apiKeys', t =>
  t.field({
    type: ApiKeyConnection,
    description:
      'All API keys, newest first, including revoked and expired ones. A caller that is bound to agents gets only keys that are bound to no other agents.',
    args: pagingArguments(API_KEY_PAGE),
    extensions: { scope: 'ADMIN', pageSize: API_KEY_PAGE },
    resolve: async (_root, args, context) => ({
      page: await context.load.apiKeys.page(readWindow(args, API_KEY_PAGE, API_KEY_ORDERING)),
      count: () => context.load.apiKeys.count(),
    }),
  }),
);

const RateLimitInputType = builder.inputRef<RateLimitInput>('RateLimitInput').implement({
  description: "Limits per minute. For each field left out, the server's limit applies. 0 means unlimited.",
  fields: t => ({ requests: t.int(), writes: t.int(), creations: t.int(), management: t.int() }),
});

const CreateApiKeyInputType = builder.inputRef<CreateApiKeyInput>('CreateApiKeyInput').implement({
  fields: t => ({
    name: t.string({ required: true, description: 'A name for people to read; at most 200 characters.' }),
    scopes: t.field({ type: [ApiScopeEnum], required: true, description: 'Each includes the scopes before it.' }),
    agentIds: t.stringList({
      description:
        'The key sees only sessions of these agents. By default, all agents that the caller may see. Normalised like the agent id in a session key.',
    }),
    expiresAt: t.field({ type: 'DateTime', description: 'By default, the key never expires.' }),
    rateLimits: t.field({
      type: RateLimitInputType,
      description: "Limits that replace the server's for this key.",
    }),
  }),
});

const RevokeApiKeyInputType = builder.inputRef<{ readonly id: string }>('RevokeApiKeyInput').implement({
  fields: t => ({ id: t.id({ required: true, description: 'Global id or UUID.' }) }),
});

const CreateApiKeyPayload = builder.objectRef<{ readonly apiKey: ApiKeyRow; readonly secret: string }>('CreateApiKeyPayload').implement({
  fields: t => ({
    apiKey: t.field({ type: ApiKey, resolve: payload => payload.apiKey }),
    secret: t.string({ description: 'Returned only here; the server stores a hash.', resolve: payload => payload.secret }),
  }),
});

const RevokeApiKeyPayload = builder.objectRef<{ readonly apiKey: ApiKeyRow }>('RevokeApiKeyPayload').implement({
  fields: t => ({ apiKey: t.field({ type: ApiKey, resolve: payload => payload.apiKey }) }),
});

builder.mutationFields(t => ({
  createApiKey: t.field({
    type: CreateApiKeyPayload,
    description:
      'Creates an API key. If the server accepted local requests without a key, the first key ends that: all requests then need one.',
    args: { input: t.arg({ type: CreateApiKeyInputType, required: true }) },
    extensions: { scope: 'ADMIN' },
    resolve: (_root, { input }, context) => createApiKey(context.caller, input),
  }),
  revokeApiKey: t.field({
    type: RevokeApiKeyPayload,
    description: 'Revokes an API key for good. Within a second, all servers reject it and end its connections and subscriptions.',
    args: { input: t.arg({ type: RevokeApiKeyInputType, required: true }) },
    extensions: { scope: 'ADMIN' },
    resolve: async (_root, { input }, context) => ({ apiKey: await revokeApiKey(context.caller, input) }),
  }),
}));
