import type { Config } from '../../config.ts';
import { VERSION } from '../../config.ts';
import { builder } from '../../graphql/builder.ts';
import { MAX_MESSAGE_LENGTH } from '../message/message.rules.ts';
import { MESSAGE_PAGE } from '../message/message.schema.ts';
import { MAX_TITLE_LENGTH } from '../session/session.rules.ts';
import { SESSION_PAGE } from '../session/session.schema.ts';

/** Entries of a page of logs, at the most. */
const MAX_LOGS_PAGE = 1_000;

const ServerLimits = builder.objectRef<Config>('ServerLimits').implement({
  description: 'What this server takes at the most.',
  fields: t => ({
    maxTitleLength: t.int({ description: 'Characters.', resolve: () => MAX_TITLE_LENGTH }),
    maxMessageLength: t.int({ description: 'Characters of content.', resolve: () => MAX_MESSAGE_LENGTH }),
    maxPageSize: t.int({ resolve: () => SESSION_PAGE.max }),
    maxMessagesPageSize: t.int({ resolve: () => MESSAGE_PAGE.max }),
    maxLogsPageSize: t.int({ resolve: () => MAX_LOGS_PAGE }),
    maxQueryCost: t.int({ resolve: config => config.limits.maxQueryCost }),
    maxQueryDepth: t.int({ resolve: config => config.limits.maxQueryDepth }),
    stalledAfterMs: t.field({
      type: 'SafeInt',
      description: 'How long a session at work may be silent.',
      resolve: config => config.sessions.stalledAfterMs,
    }),
  }),
});

const ServerInfo = builder.objectRef<Config>('ServerInfo').implement({
  description: 'This server.',
  fields: t => ({
    version: t.string({ resolve: () => VERSION }),
    now: t.field({ type: 'DateTime', description: "The server's clock.", resolve: () => new Date() }),
    limits: t.field({ type: ServerLimits, resolve: config => config }),
  }),
});

builder.queryField('serverInfo', t =>
  t.field({ type: ServerInfo, extensions: { scope: 'READ' }, resolve: (_root, _args, context) => context.config }),
);
