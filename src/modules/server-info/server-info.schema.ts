import type { Config } from '../../config.ts';
import { VERSION } from '../../config.ts';
import { ERROR_CODES, type ErrorCode, isRetryable } from '../../errors.ts';
import { builder } from '../../graphql/builder.ts';
import { MAX_MESSAGE_LENGTH } from '../message/message.rules.ts';
import { MESSAGE_PAGE } from '../message/message.schema.ts';
import { MAX_TITLE_LENGTH } from '../session/session.rules.ts';
import { SESSION_PAGE } from '../session/session.schema.ts';

/** Maximum page size of log entries. */
const MAX_LOGS_PAGE = 1_000;

const ServerLimits = builder.objectRef<Config>('ServerLimits').implement({
  description: 'The largest values that this server accepts, and how long it keeps what.',
  fields: t => ({
    maxTitleLength: t.int({ description: 'In characters.', resolve: () => MAX_TITLE_LENGTH }),
    maxMessageLength: t.int({ description: 'Of the content, in characters.', resolve: () => MAX_MESSAGE_LENGTH }),
    maxPageSize: t.int({ description: 'Of lists that have no limit of their own.', resolve: () => SESSION_PAGE.max }),
    maxMessagesPageSize: t.int({ description: 'Of lists of messages.', resolve: () => MESSAGE_PAGE.max }),
    maxLogsPageSize: t.int({ description: 'Of lists of log entries.', resolve: () => MAX_LOGS_PAGE }),
    maxQueryCost: t.int({
      description: 'The maximum cost of an operation. Responses have its cost in `extensions.cost`.',
      resolve: config => config.limits.maxQueryCost,
    }),
    maxQueryDepth: t.int({ description: 'How deep fields may be nested.', resolve: config => config.limits.maxQueryDepth }),
    stalledAfterMs: t.field({
      type: 'SafeInt',
      description: 'After this time without activity, a SPAWNING or WORKING session becomes STALLED.',
      resolve: config => config.sessions.stalledAfterMs,
    }),
    eventRetentionMs: t.field({
      type: 'SafeInt',
      description: 'For how long the event log keeps events, in milliseconds. Older cursors are CURSOR_EXPIRED.',
      resolve: config => config.events.retentionMs,
    }),
    trashDays: t.int({
      description: 'After this many days, a session in the trash is removed for good.',
      resolve: config => config.sessions.trashDays,
    }),
  }),
});

/** In the order of the table. */
const CODES = Object.keys(ERROR_CODES) as ErrorCode[];

const ErrorCodeEnum = builder.enumType('ErrorCode', {
  description: 'Every `extensions.code` of an error.',
  values: Object.fromEntries(CODES.map(code => [code, { value: code, description: ERROR_CODES[code].meaning }])),
});

const ErrorCodeInfo = builder.objectRef<ErrorCode>('ErrorCodeInfo').implement({
  description: 'What an error code means.',
  fields: t => ({
    code: t.field({ type: ErrorCodeEnum, description: 'As in `extensions.code`.', resolve: code => code }),
    description: t.string({ description: 'The meaning of the code, in English.', resolve: code => ERROR_CODES[code].meaning }),
    retryable: t.boolean({ description: 'Whether the same call may succeed if it is sent again unchanged.', resolve: isRetryable }),
  }),
});

const ServerInfo = builder.objectRef<Config>('ServerInfo').implement({
  description: 'Version, clock, limits and error codes of this server.',
  fields: t => ({
    version: t.string({ description: 'The version of the server.', resolve: () => VERSION }),
    now: t.field({ type: 'DateTime', description: 'The current time on the server.', resolve: () => new Date() }),
    limits: t.field({ type: ServerLimits, description: 'The largest values that the server accepts.', resolve: config => config }),
    errorCodes: t.field({ type: [ErrorCodeInfo], description: 'Every error code, with its meaning.', resolve: () => CODES }),
  }),
});

builder.queryField('serverInfo', t =>
  t.field({
    type: ServerInfo,
    description: 'Version, clock, limits and error codes of this server.',
    extensions: { scope: 'READ' },
    resolve: (_root, _args, context) => context.config,
  }),
);
