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
  description: 'A key that lets its holder in. Its secret is shown once, when it is created.',
  fields: t => ({
    id: t.id({ description: 'Opaque global id.', resolve: row => apiKeyGlobalId(row.id) }),
    name: t.string({ resolve: row => row.name }),
    prefix: t.string({ description: 'The first characters of the secret, to recognise it.', resolve: row => row.prefix }),
    scopes: t.field({
      type: [ApiScopeEnum],
      description: 'As they were given; each includes the ones before it.',
      resolve: row => row.scopes,
    }),
    agentIds: t.stringList({
      nullable: true,
      description: "Only these agents' sessions exist for the key; null is all.",
      resolve: row => row.agentIds,
    }),
    createdAt: t.field({ type: 'DateTime', resolve: row => row.createdAt }),
    expiresAt: t.field({ type: 'DateTime', nullable: true, resolve: row => row.expiresAt }),
    lastUsedAt: t.field({ type: 'DateTime', nullable: true, description: 'To about a minute.', resolve: row => row.lastUsedAt }),
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
    description: 'The API keys, newest first, revoked and expired ones included. For a caller bound to agents: those bound to no others.',
    args: pagingArguments(API_KEY_PAGE),
    extensions: { scope: 'ADMIN', pageSize: API_KEY_PAGE },
    resolve: async (_root, args, context) => ({
      page: await context.load.apiKeys.page(readWindow(args, API_KEY_PAGE, API_KEY_ORDERING)),
      count: () => context.load.apiKeys.count(),
    }),
  }),
);

const RateLimitInputType = builder.inputRef<RateLimitInput>('RateLimitInput').implement({
  description: "Of one minute; what is left out is the server's.",
  fields: t => ({ requests: t.int(), writes: t.int(), creations: t.int(), management: t.int() }),
});

const CreateApiKeyInputType = builder.inputRef<CreateApiKeyInput>('CreateApiKeyInput').implement({
  fields: t => ({
    name: t.string({ required: true, description: 'For people; at most 200 characters.' }),
    scopes: t.field({ type: [ApiScopeEnum], required: true, description: 'Each includes the ones before it.' }),
    agentIds: t.stringList({
      description: "Only these agents' sessions; where left out, all that exist for the caller. Normalised like an agent id of a key.",
    }),
    expiresAt: t.field({ type: 'DateTime', description: 'Where left out, it never expires.' }),
    rateLimits: t.field({
      type: RateLimitInputType,
      description: "What it may do in a minute, in place of the server's limits; 0 is as much as it likes.",
    }),
  }),
});

const RevokeApiKeyInputType = builder.inputRef<{ readonly id: string }>('RevokeApiKeyInput').implement({
  fields: t => ({ id: t.id({ required: true, description: 'Global id or bare UUID.' }) }),
});

const CreateApiKeyPayload = builder.objectRef<{ readonly apiKey: ApiKeyRow; readonly secret: string }>('CreateApiKeyPayload').implement({
  fields: t => ({
    apiKey: t.field({ type: ApiKey, resolve: payload => payload.apiKey }),
    secret: t.string({ description: 'Shown once: it is stored as a hash.', resolve: payload => payload.secret }),
  }),
});

const RevokeApiKeyPayload = builder.objectRef<{ readonly apiKey: ApiKeyRow }>('RevokeApiKeyPayload').implement({
  fields: t => ({ apiKey: t.field({ type: ApiKey, resolve: payload => payload.apiKey }) }),
});

builder.mutationFields(t => ({
  createApiKey: t.field({
    type: CreateApiKeyPayload,
    description: 'Creates an API key. With the first one a server that was open to its own machine asks everyone for a key.',
    args: { input: t.arg({ type: CreateApiKeyInputType, required: true }) },
    extensions: { scope: 'ADMIN' },
    resolve: (_root, { input }, context) => createApiKey(context.caller, input),
  }),
  revokeApiKey: t.field({
    type: RevokeApiKeyPayload,
    description: 'Revokes an API key for good. Within a second it lets nobody in any more, and what it holds open is ended.',
    args: { input: t.arg({ type: RevokeApiKeyInputType, required: true }) },
    extensions: { scope: 'ADMIN' },
    resolve: async (_root, { input }, context) => ({ apiKey: await revokeApiKey(context.caller, input) }),
  }),
}));
