import { builder } from '../../graphql/builder.ts';
import type { RateLimitState } from '../rate-limit/rate-limit.rules.ts';
import type { API_SCOPES, Viewer } from './viewer.rules.ts';

/** The scopes as GraphQL names them. */
export const ApiScopeEnum = builder.enumType('ApiScope', {
  description: 'What a caller may do. Each scope includes the ones before it.',
  values: {
    READ: { description: 'Every query but `apiKeys`, and every subscription.' },
    WRITE: { description: 'Create, update and end sessions, report progress, append messages and logs.' },
    MANAGE: { description: 'Kill, respawn, reset, compact, fork, delete, restore and prune sessions, delete messages.' },
    ADMIN: { description: 'API keys, and removing sessions for good.' },
  } satisfies Record<(typeof API_SCOPES)[number], object>,
});

const RateLimitStateType = builder.objectRef<RateLimitState>('RateLimitState').implement({
  description: 'Where a caller stands with one of the limits on what it may do in a minute.',
  fields: t => ({
    name: t.string({ description: '`requests`, `writes`, `creations` or `management`.', resolve: state => state.name }),
    limit: t.int({ description: 'In a minute.', resolve: state => state.limit }),
    remaining: t.int({ resolve: state => state.remaining }),
    resetAt: t.field({ type: 'DateTime', description: 'When all of it may be used again.', resolve: state => state.resetAt }),
  }),
});

const ViewerType = builder.objectRef<Viewer>('Viewer').implement({
  description: 'Who calls.',
  fields: t => ({
    name: t.string({
      description: 'Of the API key, or the subject of the token; `local` where authentication is off.',
      resolve: viewer => viewer.name,
    }),
    scopes: t.field({
      type: [ApiScopeEnum],
      description: 'With all that they include, lowest first.',
      resolve: viewer => viewer.scopes,
    }),
    agentIds: t.stringList({
      nullable: true,
      description: "Only these agents' sessions exist for the caller; null is all.",
      resolve: viewer => viewer.agentIds,
    }),
    rateLimits: t.field({
      type: [RateLimitStateType],
      description: 'None while authentication is off, and none for what is not limited.',
      resolve: (_viewer, _args, context) => context.rateLimits(),
    }),
  }),
});

builder.queryField('viewer', t =>
  t.field({
    type: ViewerType,
    description: 'Who calls.',
    extensions: { scope: 'READ' },
    resolve: (_root, _args, context) => context.viewer,
  }),
);
