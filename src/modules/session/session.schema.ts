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
import type { SessionGroup } from './session.columns.ts';
import type { SessionRow } from './session.loader.ts';
import { shownPercent } from './session.rules.ts';

/** Page sizes of lists of sessions. */
export const SESSION_PAGE: PageSize = { default: 20, max: 100 };

const DAY_MS = 86_400_000;

const from = (columns: SessionGroup | 'depth') => ({ columns });

const SessionProgress = builder.objectRef<SessionRow>('SessionProgress').implement({
  description: 'How far the agent says it is.',
  fields: t => ({
    percent: t.int({
      description: '0 to 100; 100 once COMPLETED.',
      extensions: from('progress'),
      resolve: row => shownPercent(row.status, read(row, 'progressPercent')),
    }),
    tasksCompleted: t.int({ nullable: true, extensions: from('progress'), resolve: row => read(row, 'tasksCompleted') }),
    tasksTotal: t.int({ nullable: true, extensions: from('progress'), resolve: row => read(row, 'tasksTotal') }),
    currentTask: t.string({ nullable: true, extensions: from('progress'), resolve: row => read(row, 'currentTask') }),
  }),
});

type Settings = Readonly<Record<string, unknown>>;

const textSetting = (settings: Settings, name: string) => (typeof settings[name] === 'string' ? settings[name] : null);
const numberSetting = (settings: Settings, name: string) => (typeof settings[name] === 'number' ? settings[name] : null);

const TEXT_SETTINGS = [
  'thinkingLevel',
  'verboseLevel',
  'reasoningLevel',
  'elevatedLevel',
  'ttsAuto',
  'execHost',
  'execSecurity',
  'execAsk',
  'execNode',
  'responseUsage',
  'sendPolicy',
  'groupActivation',
  'queueMode',
  'queueDrop',
  'providerOverride',
  'modelOverride',
  'authProfileOverride',
] as const;
const NUMBER_SETTINGS = ['queueDebounceMs', 'queueCap', 'contextTokens'] as const;

const SessionSettings = builder.objectRef<SessionRow>('SessionSettings').implement({
  description: 'How the agent runs this session. Values are canonical; null is unset.',
  fields: t => {
    const text = (name: (typeof TEXT_SETTINGS)[number]) =>
      t.string({ nullable: true, extensions: from('json'), resolve: row => textSetting(read(row, 'settings'), name) });
    const number = (name: (typeof NUMBER_SETTINGS)[number]) =>
      t.int({ nullable: true, extensions: from('json'), resolve: row => numberSetting(read(row, 'settings'), name) });
    return {
      thinkingLevel: text('thinkingLevel'),
      verboseLevel: text('verboseLevel'),
      reasoningLevel: text('reasoningLevel'),
      elevatedLevel: text('elevatedLevel'),
      ttsAuto: text('ttsAuto'),
      execHost: text('execHost'),
      execSecurity: text('execSecurity'),
      execAsk: text('execAsk'),
      execNode: text('execNode'),
      responseUsage: text('responseUsage'),
      sendPolicy: text('sendPolicy'),
      groupActivation: text('groupActivation'),
      queueMode: text('queueMode'),
      queueDebounceMs: number('queueDebounceMs'),
      queueCap: number('queueCap'),
      queueDrop: text('queueDrop'),
      providerOverride: text('providerOverride'),
      modelOverride: text('modelOverride'),
      authProfileOverride: text('authProfileOverride'),
      contextTokens: number('contextTokens'),
      extra: t.field({
        type: 'JSON',
        description: 'Further fields of the store the session came from, verbatim. May be large: read only where asked for.',
        extensions: from('extra'),
        resolve: row => read(row, 'settingsExtra'),
      }),
    };
  },
});

const SessionOrigin = builder.objectRef<Settings>('SessionOrigin').implement({
  description:
    'Where a session came from, in the words and ids of that system: `provider` is the messenger, `surface` where in it, `from` and `to` the peers.',
  fields: t => {
    const text = (name: string) => t.string({ nullable: true, resolve: origin => textSetting(origin, name) });
    return {
      label: text('label'),
      provider: text('provider'),
      surface: text('surface'),
      chatType: text('chatType'),
      from: text('from'),
      to: text('to'),
      accountId: text('accountId'),
      threadId: text('threadId'),
    };
  },
});

const DeliveryContext = builder.objectRef<Settings>('DeliveryContext').implement({
  description: 'Where answers go: the messenger, and in its own ids the peer, our account there, and the thread.',
  fields: t => {
    const text = (name: string) => t.string({ nullable: true, resolve: delivery => textSetting(delivery, name) });
    return { channel: text('channel'), to: text('to'), accountId: text('accountId'), threadId: text('threadId') };
  },
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
      description: "Opaque global id. Every argument that takes a session's id takes this or `sessionId`.",
      resolve: row => sessionGlobalId(row.id),
    }),
    sessionId: t.id({ description: 'The bare id: a UUID.', resolve: row => row.id }),
    externalId: t.string({
      nullable: true,
      description: 'The id under which the system it came from knew it, where that was not a UUID.',
      extensions: from('details'),
      resolve: row => read(row, 'externalId'),
    }),
    key: t.string({
      nullable: true,
      description: 'The routing key in canonical form. Unique per agent among sessions neither superseded nor in the trash.',
      extensions: from('identity'),
      resolve: row => read(row, 'key'),
    }),
    kind: t.field({
      type: SessionKindEnum,
      description: 'Read from the key and the chat type.',
      extensions: from('identity'),
      resolve: row => read(row, 'kind'),
    }),
    agentId: t.string({ resolve: row => row.agentId }),
    agent: t.field({ type: Agent, resolve: row => ({ agentId: row.agentId }) }),
    type: t.string({
      description: 'chat, roundtable, cron, interactive, subagent, …: an open set, lower case.',
      extensions: from('identity'),
      resolve: row => read(row, 'type'),
    }),
    status: t.field({ type: SessionStatusEnum, resolve: row => row.status }),
    title: t.string({
      description:
        '`givenTitle`, else the display name, else the subject, else the first user message cut at a word, else `Session` and the first 8 characters of the id.',
      resolve: row => row.title,
    }),
    givenTitle: t.string({
      nullable: true,
      description: 'The title somebody gave it; null where `title` is derived.',
      extensions: from('details'),
      resolve: row => read(row, 'givenTitle'),
    }),
    label: t.string({
      nullable: true,
      description: 'A short name, unique per agent.',
      extensions: from('identity'),
      resolve: row => read(row, 'label'),
    }),
    displayName: t.string({
      nullable: true,
      description: 'What the system it came from shows for it, such as the name of a group.',
      extensions: from('details'),
      resolve: row => read(row, 'displayName'),
    }),
    subject: t.string({
      nullable: true,
      description: 'What a group or a thread says it is about.',
      extensions: from('details'),
      resolve: row => read(row, 'subject'),
    }),
    category: t.string({
      nullable: true,
      description: "The caller's own grouping, free text.",
      extensions: from('details'),
      resolve: row => read(row, 'category'),
    }),
    tags: t.stringList({ extensions: from('details'), resolve: row => read(row, 'tags') }),
    channel: t.string({
      nullable: true,
      description: 'Where it is talked in, such as telegram, slack or web.',
      extensions: from('details'),
      resolve: row => read(row, 'channel'),
    }),
    nodeId: t.string({
      nullable: true,
      description: 'The machine or device it runs on, as the caller names it.',
      extensions: from('details'),
      resolve: row => read(row, 'nodeId'),
    }),
    outputPath: t.string({
      nullable: true,
      description: 'Where the agent puts what it makes; nothing here reads or writes there.',
      extensions: from('details'),
      resolve: row => read(row, 'outputPath'),
    }),
    priority: t.field({ type: SessionPriorityEnum, extensions: from('details'), resolve: row => read(row, 'priority') }),
    task: t.string({
      nullable: true,
      description: 'What it works on, in a sentence; `prompt` is the full text it was started with.',
      extensions: from('texts'),
      resolve: row => read(row, 'task'),
    }),
    prompt: t.string({
      nullable: true,
      description: 'The full text it was started with.',
      extensions: from('texts'),
      resolve: row => read(row, 'prompt'),
    }),
    progress: t.field({ type: SessionProgress, extensions: { embedded: true }, resolve: row => row }),
    usage: t.field({
      type: TokenUsage,
      description:
        'Tokens and cost of the session, or of its whole tree; for the latter nothing that lies in the trash or may not be seen counts.',
      args: { scope: t.arg({ type: UsageScope, defaultValue: 'OWN' }) },
      extensions: from('usage'),
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
      description: 'At 95 % of it the session fails; null is none.',
      extensions: from('details'),
      resolve: row => read(row, 'tokenLimit'),
    }),
    model: t.string({ nullable: true, extensions: from('details'), resolve: row => read(row, 'model') }),
    modelProvider: t.string({ nullable: true, extensions: from('details'), resolve: row => read(row, 'modelProvider') }),
    settings: t.field({ type: SessionSettings, extensions: { embedded: true }, resolve: row => row }),
    origin: t.field({
      type: SessionOrigin,
      description: 'Where it was begun from.',
      nullable: true,
      extensions: from('json'),
      resolve: row => read(row, 'origin'),
    }),
    delivery: t.field({
      type: DeliveryContext,
      description: 'Where its answers go.',
      nullable: true,
      extensions: from('json'),
      resolve: row => read(row, 'delivery'),
    }),
    metadata: t.field({
      type: 'JSON',
      description: 'Data of the caller: a JSON object of at most 64 KiB.',
      extensions: from('json'),
      resolve: row => read(row, 'metadata'),
    }),
    statusReason: t.string({
      nullable: true,
      description: 'Why it failed, was killed, ended or stalled.',
      extensions: from('details'),
      resolve: row => read(row, 'statusReason'),
    }),
    depth: t.int({ description: '0 for a root.', extensions: from('depth'), resolve: row => read(row, 'depth') }),
    supersededAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When a reset or a respawn put another session in its place. Superseded sessions are listed only when asked for.',
      extensions: from('details'),
      resolve: row => read(row, 'supersededAt'),
    }),
    messageCount: t.int({
      description: 'All messages that are stored, those out of the active view included.',
      resolve: row => row.messageCount,
    }),
    compactionCount: t.int({
      description: 'How often it has been compacted.',
      extensions: from('details'),
      resolve: row => read(row, 'compactionCount'),
    }),
    createdAt: t.field({ type: 'DateTime', extensions: from('times'), resolve: row => read(row, 'createdAt') }),
    startedAt: t.field({
      type: 'DateTime',
      description: 'When the work began, where the caller says so; else when the session was made.',
      extensions: from('times'),
      resolve: row => read(row, 'startedAt'),
    }),
    updatedAt: t.field({ type: 'DateTime', description: 'Moves with any write.', resolve: row => row.updatedAt }),
    lastActivityAt: t.field({
      type: 'DateTime',
      description: 'Moves with messages, logs and progress.',
      resolve: row => row.lastActivityAt,
    }),
    lastMessageAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When its last message was created; null where it has none.',
      extensions: from('times'),
      resolve: row => read(row, 'lastMessageAt'),
    }),
    expectedCompletionAt: t.field({
      description: 'When the work should be done: given, or `startedAt` and the expected duration.',
      type: 'DateTime',
      nullable: true,
      extensions: from('details'),
      resolve: row => read(row, 'expectedCompletionAt'),
    }),
    endedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Set while its status is COMPLETED, FAILED, TERMINATED or ENDED.',
      extensions: from('times'),
      resolve: row => read(row, 'endedAt'),
    }),
    archivedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Set while it is archived. It stays in lists unless the filter says otherwise.',
      extensions: from('details'),
      resolve: row => read(row, 'archivedAt'),
    }),
    pinnedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Set while it is pinned.',
      extensions: from('details'),
      resolve: row => read(row, 'pinnedAt'),
    }),
    deletedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Set while it lies in the trash.',
      extensions: from('times'),
      resolve: row => read(row, 'deletedAt'),
    }),
    purgeAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it is removed for good, while it lies in the trash.',
      extensions: from('times'),
      resolve: (row, _args, context) => {
        const deletedAt = read(row, 'deletedAt');
        return deletedAt === null ? null : new Date(Date.parse(deletedAt) + context.config.sessions.trashDays * DAY_MS);
      },
    }),
    version: t.int({
      description:
        'Rises by one with every update, status change, and trip to the trash or back; not with messages, logs and progress, unless they change the ' +
        'status. Starts at 1; a call raises it by at most one, and one that changes nothing by none. Pass it as `expectedVersion` to refuse a lost update.',
      extensions: from('identity'),
      resolve: row => read(row, 'version'),
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
    extensions: from('identity'),
    resolve: (row, _args, context, info) => {
      const parentId = read(row, 'parentId');
      return parentId === null ? null : context.load.sessions.byId(parentId, columnGroups(info, [[]]));
    },
  }),
);

builder.prismaObjectField('Session', 'children', t =>
  t.field({
    type: SessionConnection,
    description: `The sessions started from this one. Default order: last activity, newest first.`,
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
