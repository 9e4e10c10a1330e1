import { parseSessionId, sessionGlobalId } from '../../global-id.ts';
import { builder } from '../../graphql/builder.ts';
import { connectionGroups, connectionTypes, pagingArguments } from '../../graphql/connection.ts';
import { columnGroups } from '../../graphql/look-ahead.ts';
import { Node, registerNode } from '../../graphql/node.ts';
import { read } from '../../graphql/row.ts';
import { type PageSize, readWindow } from '../../postgres/keyset.ts';
import { Agent } from '../agent/agent.schema.ts';
import { SessionKindEnum, SessionOrderInput, SessionPriorityEnum, SessionStatusEnum } from '../session-filter/session-filter.schema.ts';
import { LISTED } from '../session-filter/session-filter.sql.ts';
import { sessionOrdering } from '../session-filter/session-order.sql.ts';
import { TokenUsage, UsageScope } from '../usage/usage.schema.ts';
import type { SessionRow } from './session.loader.ts';
import { shownPercent } from './session.rules.ts';
import { column } from './session-column.schema.ts';
import { DeliveryContext, SessionOrigin } from './session-context.schema.ts';
import { SessionSettings } from './session-settings.schema.ts';

/** Page sizes of lists of sessions. */
export const SESSION_PAGE: PageSize = { default: 20, max: 100 };

const DAY_MS = 86_400_000;

const SessionProgress = builder.objectRef<SessionRow>('SessionProgress').implement({
  description: 'The progress that the agent has reported.',
  fields: t => ({
    percent: t.int({
      ...column('progressPercent'),
      description: '0 to 100. Always 100 for a COMPLETED session.',
      resolve: row => shownPercent(row.status, read(row, 'progressPercent')),
    }),
    tasksCompleted: t.int({ nullable: true, ...column('tasksCompleted') }),
    tasksTotal: t.int({ nullable: true, ...column('tasksTotal') }),
    currentTask: t.string({ nullable: true, ...column('currentTask') }),
  }),
});

declare module '../../graphql/builder.ts' {
  interface LoadedRows {
    Session: SessionRow;
  }
}

export const Session = builder.prismaObject('Session', {
  interfaces: [Node],
  description: 'A session of an agent: a conversation or a run, with its messages.',
  fields: t => ({
    id: t.id({
      description: "Opaque global id. Every argument for a session's id accepts this or `sessionId`.",
      resolve: row => sessionGlobalId(row.id),
    }),
    sessionId: t.id({ description: "The session's UUID.", ...column('id') }),
    externalId: t.string({
      nullable: true,
      description: 'The id in the system the session was imported from, if that is not a UUID.',
      ...column('externalId'),
    }),
    key: t.string({
      nullable: true,
      description:
        'The routing key, in canonical form: `agent:<agent>:<rest>`, `global` or `unknown`. Unique per agent among sessions that are neither ' +
        'superseded nor in the trash. An imported key that starts with `agent:` but lacks an agent or a rest, such as `agent:::`, stays as it is.',
      ...column('key'),
    }),
    kind: t.field({ type: SessionKindEnum, description: 'Derived from the key and the chat type.', ...column('kind') }),
    agentId: t.string(column('agentId')),
    agent: t.field({ type: Agent, resolve: row => ({ agentId: row.agentId }) }),
    type: t.string({
      description: 'Any lower-case text, e.g. chat, roundtable, cron, interactive or subagent.',
      ...column('type'),
    }),
    status: t.field({ type: SessionStatusEnum, ...column('status') }),
    title: t.string({
      description:
        'The title to show: `givenTitle`, else the display name, else the subject, else the first user message cut at a word, else `Session` and ' +
        'the first 8 characters of the id.',
      ...column('title'),
    }),
    givenTitle: t.string({
      nullable: true,
      description: 'The title that a caller has set. Null if there is none.',
      ...column('givenTitle'),
    }),
    label: t.string({ nullable: true, description: 'A short name, unique per agent.', ...column('label') }),
    displayName: t.string({
      nullable: true,
      description: 'The name that the system of origin shows, e.g. the name of a group.',
      ...column('displayName'),
    }),
    subject: t.string({ nullable: true, description: 'The subject of a group or thread.', ...column('subject') }),
    category: t.string({ nullable: true, description: 'A category of the caller.', ...column('category') }),
    tags: t.stringList(column('tags')),
    channel: t.string({
      nullable: true,
      description: 'Where the conversation takes place, e.g. telegram, slack or web.',
      ...column('channel'),
    }),
    nodeId: t.string({
      nullable: true,
      description: 'The machine or device that the session runs on, as the caller names it.',
      ...column('nodeId'),
    }),
    outputPath: t.string({
      nullable: true,
      description: 'Where the agent writes its output. The server does not access it.',
      ...column('outputPath'),
    }),
    workspace: t.string({ nullable: true, description: 'The folder or repository the agent works in.', ...column('workspace') }),
    priority: t.field({ type: SessionPriorityEnum, ...column('priority') }),
    task: t.string({
      nullable: true,
      description: 'What the session works on, in a sentence. `prompt` is the full text.',
      ...column('task'),
    }),
    prompt: t.string({ nullable: true, description: 'The full text the session was started with.', ...column('prompt') }),
    progress: t.field({ type: SessionProgress, extensions: { embedded: true }, resolve: row => row }),
    usage: t.field({
      type: TokenUsage,
      description: 'Tokens and cost of the session, or of the session and its descendants.',
      args: { scope: t.arg({ type: UsageScope, defaultValue: 'OWN' }) },
      extensions: column('totalTokens').extensions,
      resolve: async (row, { scope }, context) => {
        const own = {
          inputTokens: read(row, 'inputTokens'),
          outputTokens: read(row, 'outputTokens'),
          cacheReadTokens: read(row, 'cacheReadTokens'),
          cacheWriteTokens: read(row, 'cacheWriteTokens'),
          totalTokens: read(row, 'totalTokens'),
          costNanoUsd: read(row, 'costNanoUsd'),
        };
        return scope === 'TREE' ? ((await context.load.usage.ofTree(row.id)) ?? own) : own;
      },
    }),
    tokenLimit: t.int({
      nullable: true,
      description: 'The session fails when its usage reaches 95 % of this limit. Null if it has no limit.',
      ...column('tokenLimit'),
    }),
    model: t.string({ nullable: true, ...column('model') }),
    modelProvider: t.string({ nullable: true, ...column('modelProvider') }),
    settings: t.field({ type: SessionSettings, extensions: { embedded: true }, resolve: row => row }),
    origin: t.field({ type: SessionOrigin, nullable: true, description: 'Where the session came from.', ...column('origin') }),
    delivery: t.field({ type: DeliveryContext, nullable: true, description: 'Where replies are sent.', ...column('delivery') }),
    metadata: t.field({ type: 'JSON', description: 'Data of the caller: a JSON object of at most 64 KiB.', ...column('metadata') }),
    statusReason: t.string({
      nullable: true,
      description: 'Why the session failed, was killed, ended or stalled.',
      ...column('statusReason'),
    }),
    depth: t.int({
      description: 'Number of ancestors that the caller may see: 0 for a root.',
      extensions: { columns: 'depth' },
      resolve: row => read(row, 'depth'),
    }),
    supersededAt: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'When a reset or respawn replaced the session by another one. Lists contain superseded sessions only if the filter asks for them.',
      ...column('supersededAt'),
    }),
    messageCount: t.int({ description: 'Number of stored messages, in the active view or not.', ...column('messageCount') }),
    compactionCount: t.int({ description: 'Number of compactions so far.', ...column('compactionCount') }),
    createdAt: t.field({ type: 'DateTime', ...column('createdAt') }),
    startedAt: t.field({
      type: 'DateTime',
      description: 'When the work began, as the caller says. Default: the time of creation.',
      ...column('startedAt'),
    }),
    updatedAt: t.field({
      type: 'DateTime',
      description: 'Time of the last change to the session or its messages.',
      ...column('updatedAt'),
    }),
    lastActivityAt: t.field({
      type: 'DateTime',
      description: 'Time of the last message, log entry or progress report. Before the first one: the time of creation.',
      ...column('lastActivityAt'),
    }),
    lastMessageAt: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        '`createdAt` of the last message of the current branch, the one that the next message follows. Messages before it may have a later time. ' +
        'Null if there is none.',
      ...column('lastMessageAt'),
    }),
    expectedCompletionAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the work should be done: as set, or `startedAt` plus the expected duration.',
      ...column('expectedCompletionAt'),
    }),
    endedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the session ended. Null unless the status is COMPLETED, FAILED, TERMINATED or ENDED.',
      ...column('endedAt'),
    }),
    archivedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the session was archived. Lists contain archived sessions unless the filter excludes them.',
      ...column('archivedAt'),
    }),
    pinnedAt: t.field({ type: 'DateTime', nullable: true, description: 'When the session was pinned.', ...column('pinnedAt') }),
    deletedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the session was moved to the trash.',
      ...column('deletedAt'),
    }),
    purgeAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the server will remove the session from the trash for good.',
      extensions: column('deletedAt').extensions,
      resolve: (row, _args, context) => {
        const deletedAt = read(row, 'deletedAt');
        return deletedAt === null ? null : new Date(Date.parse(deletedAt) + context.config.sessions.trashDays * DAY_MS);
      },
    }),
    version: t.int({
      description:
        'Starts at 1. Every update, status change, deletion and restoration raises it by one. Messages, log entries and progress do not, unless ' +
        'they change the status. A call raises it at most once, and not if it changes nothing. Pass it as `expectedVersion` to detect ' +
        'concurrent updates.',
      ...column('version'),
    }),
  }),
});

registerNode(Session, {
  parse: parseSessionId,
  load: (id, context, groups) => context.load.sessions.byId(id, groups),
});

export const { Connection: SessionConnection } = connectionTypes('Session', Session, { nodes: 'sessions' });

builder.prismaObjectField('Session', 'parent', t =>
  t.field({
    type: Session,
    nullable: true,
    extensions: column('parentId').extensions,
    resolve: (row, _args, context, info) => {
      const parentId = read(row, 'parentId');
      return parentId === null ? null : context.load.sessions.byId(parentId, columnGroups(info, [[]]));
    },
  }),
);

builder.prismaObjectField('Session', 'children', t =>
  t.field({
    type: SessionConnection,
    description: 'The sessions started by this one. Default order: last activity, newest first.',
    args: { ...pagingArguments(SESSION_PAGE), orderBy: t.arg({ type: [SessionOrderInput] }) },
    extensions: { pageSize: SESSION_PAGE },
    resolve: async (row, args, context, info) => {
      const list = { by: 'session', conditions: [LISTED], ordering: sessionOrdering(args.orderBy, 'children') } as const;
      const window = readWindow(args, SESSION_PAGE, list.ordering);
      return {
        page: await context.load.sessions.pageOf(row.id, list, window, connectionGroups(info)),
        count: () => context.load.sessions.countOf(row.id, list),
      };
    },
  }),
);
