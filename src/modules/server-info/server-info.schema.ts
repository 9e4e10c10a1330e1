import type { Config } from '../../config.ts';
import { VERSION } from '../../config.ts';
import { builder } from '../../graphql/builder.ts';
import { MAX_MESSAGE_LENGTH } from '../message/message.rules.ts';
import { MESSAGE_PAGE } from '../message/message.schema.ts';
import { MAX_TITLE_LENGTH } from '../session/session.rules.ts';
import { SESSION_PAGE } from '../session/session.schema.ts';

/** Maximum page size of log entries. */
const MAX_LOGS_PAGE = 1_000;

const ServerLimits = builder.objectRef<Config>('ServerLimits').implement({
  description: 'The largest values that this server accepts.',
  fields: t => ({
    maxTitleLength: t.int({ description: 'In characters.', resolve: () => MAX_TITLE_LENGTH }),
    maxMessageLength: t.int({ description: 'Of the content, in characters.', resolve: () => MAX_MESSAGE_LENGTH }),
    maxPageSize: t.int({ resolve: () => SESSION_PAGE.max }),
    maxMessagesPageSize: t.int({ resolve: () => MESSAGE_PAGE.max }),
    maxLogsPageSize: t.int({ resolve: () => MAX_LOGS_PAGE }),
    maxQueryCost: t.int({ resolve: config => config.limits.maxQueryCost }),
    maxQueryDepth: t.int({ resolve: config => config.limits.maxQueryDepth }),
    stalledAfterMs: t.field({
      type: 'SafeInt',
      description: 'After this time without activity, a SPAWNING or WORKING session becomes STALLED.',
      resolve: config => config.sessions.stalledAfterMs,
    }),
  }),
});

const ServerInfo = builder.objectRef<Config>('ServerInfo').implement({
  description: 'Version, clock and limits of this server.',
  fields: t => ({
    version: t.string({ resolve: () => VERSION }),
    now: t.field({ type: 'DateTime', description: 'The current time on the server.', resolve: () => new Date() }),
    limits: t.field({ type: ServerLimits, resolve: config => config }),
  }),
});

builder.queryField('serverInfo', t =>
  t.field({ type: ServerInfo, extensions: { scope: 'READ' }, resolve: (_root, _args, context) => context.config }),
);
