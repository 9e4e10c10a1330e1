import { builder } from '../../graphql/builder.ts';
import type { RateLimitState } from '../rate-limit/rate-limit.rules.ts';
import type { API_SCOPES, Viewer } from './viewer.rules.ts';

export const ApiScopeEnum = builder.enumType('ApiScope', {
  description: 'What a caller may do. Each scope includes the scopes before it: READ, WRITE, MANAGE, ADMIN.',
  values: {
    READ: { description: 'All queries except `apiKeys`, and all subscriptions.' },
    WRITE: { description: 'Create, update and end sessions, and append messages.' },
    MANAGE: { description: 'Delete and restore sessions, and delete messages.' },
    ADMIN: { description: 'Manage API keys, and remove sessions for good.' },
  } satisfies Record<(typeof API_SCOPES)[number], object>,
});

const RateLimitStateType = builder.objectRef<RateLimitState>('RateLimitState').implement({
  description: 'How much of one per-minute limit the caller has left.',
  fields: t => ({
    name: t.string({ description: '`requests`, `writes`, `creations` or `management`.', resolve: state => state.name }),
    limit: t.int({ description: 'Operations per minute.', resolve: state => state.limit }),
    remaining: t.int({ resolve: state => state.remaining }),
    resetAt: t.field({ type: 'DateTime', description: 'When the full limit is available again.', resolve: state => state.resetAt }),
  }),
});

const ViewerType = builder.objectRef<Viewer>('Viewer').implement({
  description: 'The authenticated caller.',
  fields: t => ({
    name: t.string({
      description: 'The name of the API key, or the subject of the token. `local` if authentication is off.',
      resolve: viewer => viewer.name,
    }),
    scopes: t.field({
      type: [ApiScopeEnum],
      description: 'All scopes of the caller, included ones too, lowest first.',
      resolve: viewer => viewer.scopes,
    }),
    agentIds: t.stringList({
      nullable: true,
      description: 'The caller sees only sessions of these agents. Null for all agents.',
      resolve: viewer => viewer.agentIds,
    }),
    rateLimits: t.field({
      type: [RateLimitStateType],
      description: 'One for each limited class of operations. Empty while authentication is off.',
      resolve: (_viewer, _args, context) => context.rateLimits(),
    }),
  }),
});

builder.queryField('viewer', t =>
  t.field({
    type: ViewerType,
    description: 'The authenticated caller.',
    extensions: { scope: 'READ' },
    resolve: (_root, _args, context) => context.viewer,
  }),
);
