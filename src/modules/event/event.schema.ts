import type { Context } from '../../context.ts';
import { encodeEventCursor } from '../../events/event-cursor.ts';
import type { EventType, StoredEvent, StoredEventOf } from '../../events/event-payload.ts';
import { builder } from '../../graphql/builder.ts';
import { connectionTypes, pagingArguments } from '../../graphql/connection.ts';
import { columnGroups } from '../../graphql/look-ahead.ts';
import { type PageSize, readWindow } from '../../postgres/keyset.ts';
import { Message } from '../message/message.schema.ts';
import { Session } from '../session/session.schema.ts';
import { SessionStatusEnum } from '../session-filter/session-filter.schema.ts';
import { TokenUsage } from '../usage/usage.schema.ts';
import { EVENT_ORDERING } from './event.loader.ts';
import { MAX_FILTER_VALUES, type SessionEventFilter, streamAddedMessages, streamEvents, streamStatusChanges } from './event.service.ts';

/** Page sizes of lists of events. */
const EVENT_PAGE: PageSize = { default: 50, max: 500 };

const OBJECT_TYPES: Readonly<Record<EventType, string>> = {
  CREATED: 'SessionCreatedEvent',
  UPDATED: 'SessionUpdatedEvent',
  STATUS_CHANGED: 'SessionStatusChangedEvent',
  DELETED: 'SessionDeletedEvent',
  RESTORED: 'SessionRestoredEvent',
  MESSAGE_ADDED: 'MessageAddedEvent',
  MESSAGE_DELETED: 'MessageDeletedEvent',
};

const SessionEventType = builder.enumType('SessionEventType', {
  description: 'What happened to a session.',
  values: {
    CREATED: {},
    UPDATED: { description: 'Fields other than its status, reason and end changed.' },
    STATUS_CHANGED: {},
    DELETED: { description: 'It went to the trash, or was removed for good.' },
    RESTORED: { description: 'It came back from the trash.' },
    MESSAGE_ADDED: {},
    MESSAGE_DELETED: {},
  },
});

/** One durable change of a session. */
const SessionEvent = builder.interfaceRef<StoredEvent>('SessionEvent').implement({
  description:
    'One durable change. `cursor` goes into `after` to continue behind it: nothing missed, nothing twice. ' +
    'Its own fields are as of the change; `session` and `message` are as of delivery.',
  fields: t => ({
    cursor: t.string({
      description: 'The place of the event in the log of all events; it belongs to no filter.',
      resolve: event => encodeEventCursor(event.seq),
    }),
    occurredAt: t.field({ type: 'DateTime', description: 'When it was written.', resolve: event => event.occurredAt }),
    sessionId: t.id({ description: "The session's bare id: a UUID.", resolve: event => event.sessionId }),
    agentId: t.string({ resolve: event => event.agentId }),
    session: t.field({
      type: Session,
      nullable: true,
      description: 'Null once it is gone for good.',
      resolve: (event, _args, context, info) => context.load.sessions.byId(event.sessionId, columnGroups(info, [[]])),
    }),
  }),
  resolveType: event => OBJECT_TYPES[event.type],
});

builder.objectRef<StoredEventOf<'CREATED'>>(OBJECT_TYPES.CREATED).implement({
  interfaces: [SessionEvent],
  description: 'A session was created.',
});

builder.objectRef<StoredEventOf<'UPDATED'>>(OBJECT_TYPES.UPDATED).implement({
  interfaces: [SessionEvent],
  description: 'A session was updated.',
  fields: t => ({
    changed: t.stringList({ description: 'Names of the fields of `Session` that changed.', resolve: event => event.payload.changed }),
  }),
});

const SessionStatusChangedEvent = builder.objectRef<StoredEventOf<'STATUS_CHANGED'>>(OBJECT_TYPES.STATUS_CHANGED).implement({
  interfaces: [SessionEvent],
  description: "A session's status changed.",
  fields: t => ({
    from: t.field({ type: SessionStatusEnum, resolve: event => event.payload.from }),
    to: t.field({ type: SessionStatusEnum, resolve: event => event.payload.to }),
    reason: t.string({ nullable: true, resolve: event => event.payload.reason }),
    usage: t.field({ type: TokenUsage, description: "The session's own, as of the change.", resolve: event => event.payload.usage }),
    idleMs: t.field({
      type: 'SafeInt',
      description: 'How long the session had been without activity, in milliseconds.',
      resolve: event => event.payload.idleMs,
    }),
  }),
});

builder.objectRef<StoredEventOf<'DELETED'>>(OBJECT_TYPES.DELETED).implement({
  interfaces: [SessionEvent],
  description: 'A session went to the trash, or was removed for good.',
  fields: t => ({ permanent: t.boolean({ description: 'False: it can be restored.', resolve: event => event.payload.permanent }) }),
});

builder.objectRef<StoredEventOf<'RESTORED'>>(OBJECT_TYPES.RESTORED).implement({
  interfaces: [SessionEvent],
  description: 'A session came back from the trash.',
});

const MessageAddedEvent = builder.objectRef<StoredEventOf<'MESSAGE_ADDED'>>(OBJECT_TYPES.MESSAGE_ADDED).implement({
  interfaces: [SessionEvent],
  description: 'A message was added to a session.',
  fields: t => ({
    message: t.field({
      type: Message,
      nullable: true,
      description: 'Null once it is deleted.',
      resolve: ({ sessionId, payload }, _args, context, info) =>
        context.load.messages.byPlace({ sessionId, position: payload.position }, columnGroups(info, [[]])),
    }),
  }),
});

builder.objectRef<StoredEventOf<'MESSAGE_DELETED'>>(OBJECT_TYPES.MESSAGE_DELETED).implement({
  interfaces: [SessionEvent],
  description: 'A message was deleted from a session.',
  fields: t => ({ messageId: t.id({ description: "The message's bare id: a UUID.", resolve: event => event.payload.messageId }) }),
});

const { Connection: SessionEventConnection } = connectionTypes('SessionEvent', SessionEvent, {
  nodes: 'events',
  totalCount: 'All events of the session that the log still holds, on whatever page; counted only when asked for.',
});

builder.prismaObjectField('Session', 'events', t =>
  t.field({
    type: SessionEventConnection,
    description:
      'What happened to it, oldest first, as far back as the log reaches: the same events with the same cursors as in subscriptions. ' +
      'CURSOR_EXPIRED where the log no longer reaches back to `after`.',
    args: pagingArguments(EVENT_PAGE),
    extensions: { pageSize: EVENT_PAGE },
    resolve: async (row, args, context) => {
      const window = readWindow(args, EVENT_PAGE, EVENT_ORDERING);
      return { page: await context.load.events.ofSession(row.id, window), count: () => context.load.events.count(row.id) };
    },
  }),
);

const SessionEventFilterInput = builder.inputRef<SessionEventFilter>('SessionEventFilter').implement({
  description: 'Which events are wanted. Fields are joined by AND; one left out lets all pass, an empty list nothing.',
  fields: t => ({
    sessionIds: t.idList({
      description: `Global ids or bare UUIDs, at most ${MAX_FILTER_VALUES}. Unknown ones are allowed: the session may be yet to come.`,
    }),
    agentIds: t.stringList({ description: `At most ${MAX_FILTER_VALUES}.` }),
    types: t.field({ type: [SessionEventType] }),
    includeDescendants: t.boolean({
      defaultValue: false,
      description: 'Also events of all descendants of `sessionIds`, those created later included.',
    }),
  }),
});

const UNKNOWN_SESSION =
  'One that is unknown is SESSION_NOT_FOUND; with `after`, one that was removed for good since still gives the events it had.';

const AFTER =
  'The cursor of an event: first all that happened since, then live, nothing missed and nothing twice. Without it, live from now. ' +
  'One the log no longer reaches back to is CURSOR_EXPIRED.';

/** What the client's transport says of the last event it has is newer than what stands in its document. */
const startOf = (after: string | null | undefined, { resumeAfter }: Context) => ({ after: resumeAfter ?? after });

builder.subscriptionFields(t => ({
  sessionEvents: t.field({
    type: SessionEvent,
    description:
      'Every change that matches, in an order that all subscribers agree on. With `after`: first all that happened since that cursor, then live; ' +
      'without: live from now. CURSOR_EXPIRED where the log no longer reaches back.',
    args: { filter: t.arg({ type: SessionEventFilterInput }), after: t.arg.string({ description: AFTER }) },
    extensions: { scope: 'READ' },
    subscribe: (_root, { filter, after }, context) => streamEvents(context.caller, context.events, filter ?? {}, startOf(after, context)),
    resolve: event => event,
  }),
  sessionStatusChanged: t.field({
    type: SessionStatusChangedEvent,
    description: 'Changes of status: of all sessions, of one session, or of the sessions of one agent.',
    args: {
      sessionId: t.arg.id({ description: `Global id or bare UUID. ${UNKNOWN_SESSION}` }),
      agentId: t.arg.string(),
      after: t.arg.string({ description: AFTER }),
    },
    extensions: { scope: 'READ' },
    subscribe: (_root, { after, ...filter }, context) =>
      streamStatusChanges(context.caller, context.events, { ...filter, ...startOf(after, context) }),
    resolve: event => event,
  }),
  messageAdded: t.field({
    type: MessageAddedEvent,
    description: 'Messages added to a session.',
    args: {
      sessionId: t.arg.id({ required: true, description: `Global id or bare UUID. ${UNKNOWN_SESSION}` }),
      after: t.arg.string({ description: AFTER }),
    },
    extensions: { scope: 'READ' },
    subscribe: (_root, { sessionId, after }, context) =>
      streamAddedMessages(context.caller, context.events, { sessionId, ...startOf(after, context) }),
    resolve: event => event,
  }),
}));
