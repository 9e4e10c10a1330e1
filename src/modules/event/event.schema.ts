import type { ObjectFieldsShape, ObjectRef } from '@pothos/core';
import type { Context } from '../../context.ts';
import { encodeEventCursor } from '../../events/event-cursor.ts';
import type { EventType } from '../../events/event-types.ts';
import type { StoredEvent } from '../../events/stored-event.ts';
import { builder, type SchemaTypes } from '../../graphql/builder.ts';
import { connectionTypes, pagingArguments } from '../../graphql/connection.ts';
import { columnGroups } from '../../graphql/look-ahead.ts';
import { type PageSize, readWindow } from '../../postgres/keyset.ts';
import { Message } from '../message/message.schema.ts';
import { Session } from '../session/session.schema.ts';
import { SessionStatusEnum } from '../session-filter/session-filter.schema.ts';
import { TokenUsage } from '../usage/usage.schema.ts';
import { EVENT_ORDERING } from './event.loader.ts';
import { MAX_FILTER_VALUES, type SessionEventFilter, streamAddedMessages, streamEvents, streamStatusChanges } from './event.service.ts';

const EVENT_PAGE: PageSize = { default: 50, max: 500 };

/** The GraphQL type of one type of event. */
interface EventObject<Type extends EventType> {
  readonly ref: ObjectRef<SchemaTypes, StoredEvent<Type>>;
  readonly description: string;
}

interface EventObjectOptions<Type extends EventType> {
  /** Describes both the object and its value of `SessionEventType`. */
  readonly description: string;
  readonly fields?: ObjectFieldsShape<SchemaTypes, StoredEvent<Type>>;
}

/** Declares the GraphQL type of one type of event. */
function eventObject<Type extends EventType>(_type: Type, name: string, options: EventObjectOptions<Type>): EventObject<Type> {
  const ref = builder.objectRef<StoredEvent<Type>>(name).implement({ interfaces: [SessionEvent], ...options });
  return { ref, description: options.description };
}

const SessionEvent = builder.interfaceRef<StoredEvent>('SessionEvent').implement({
  description:
    'A durable change of a session. To resume a subscription without gaps or repeats, pass `cursor` as `after`. The fields of an event ' +
    'are as of the change; `session` and `message` are as of delivery.',
  fields: t => ({
    cursor: t.string({
      description: "The event's position in the log. Pass it as `after` to resume, with any filter.",
      resolve: event => encodeEventCursor(event.seq),
    }),
    occurredAt: t.field({ type: 'DateTime', description: 'When the server wrote the event.', resolve: event => event.occurredAt }),
    sessionId: t.id({ description: "The session's UUID.", resolve: event => event.sessionId }),
    agentId: t.string({ resolve: event => event.agentId }),
    session: t.field({
      type: Session,
      nullable: true,
      description: 'Null if the session has been removed for good since.',
      resolve: (event, _args, context, info) => context.load.sessions.byId(event.sessionId, columnGroups(info, [[]])),
    }),
  }),
  resolveType: event => EVENT_OBJECTS[event.type].ref,
});

/** The GraphQL type of each type of event. The payloads are declared in events/event-types.ts. */
const EVENT_OBJECTS = {
  CREATED: eventObject('CREATED', 'SessionCreatedEvent', { description: 'A session was created.' }),
  UPDATED: eventObject('UPDATED', 'SessionUpdatedEvent', {
    description: 'Fields of a session changed, other than its status, status reason and end.',
    fields: t => ({
      changed: t.stringList({ description: 'Names of the fields of `Session` that changed.', resolve: event => event.payload.changed }),
    }),
  }),
  STATUS_CHANGED: eventObject('STATUS_CHANGED', 'SessionStatusChangedEvent', {
    description: "A session's status changed.",
    fields: t => ({
      from: t.field({ type: SessionStatusEnum, resolve: event => event.payload.from }),
      to: t.field({ type: SessionStatusEnum, resolve: event => event.payload.to }),
      reason: t.string({ nullable: true, resolve: event => event.payload.reason }),
      usage: t.field({
        type: TokenUsage,
        description: "The session's own usage, as of the change.",
        resolve: event => event.payload.usage,
      }),
      idleMs: t.field({
        type: 'SafeInt',
        description: 'How long the session had been without activity, in milliseconds.',
        resolve: event => event.payload.idleMs,
      }),
    }),
  }),
  DELETED: eventObject('DELETED', 'SessionDeletedEvent', {
    description: 'A session was moved to the trash or removed for good.',
    fields: t => ({
      permanent: t.boolean({ description: 'False if the session can be restored.', resolve: event => event.payload.permanent }),
    }),
  }),
  RESTORED: eventObject('RESTORED', 'SessionRestoredEvent', { description: 'A session was restored from the trash.' }),
  MESSAGE_ADDED: eventObject('MESSAGE_ADDED', 'MessageAddedEvent', {
    description: 'A message was added to a session.',
    fields: t => ({
      message: t.field({
        type: Message,
        nullable: true,
        description: 'Null if the message has been deleted since.',
        resolve: ({ sessionId, payload }, _args, context, info) =>
          context.load.messages.byPlace({ sessionId, position: payload.position }, columnGroups(info, [[]])),
      }),
    }),
  }),
  MESSAGE_DELETED: eventObject('MESSAGE_DELETED', 'MessageDeletedEvent', {
    description: 'A message was deleted from a session.',
    fields: t => ({ messageId: t.id({ description: "The message's UUID.", resolve: event => event.payload.messageId }) }),
  }),
} satisfies { readonly [Type in EventType]: EventObject<Type> };

const SessionEventType = builder.enumType('SessionEventType', {
  description: 'What happened to a session.',
  // Pothos reads the descriptions.
  values: EVENT_OBJECTS,
});

const { Connection: SessionEventConnection } = connectionTypes('SessionEvent', SessionEvent, {
  nodes: 'events',
  totalCount: 'Number of events of the session in the log, on all pages. Counted only if selected.',
});

builder.prismaObjectField('Session', 'events', t =>
  t.field({
    type: SessionEventConnection,
    description:
      'The events of the session, oldest first, as far back as the log goes. Events and cursors are the same as in subscriptions. ' +
      'CURSOR_EXPIRED if events after `after` have been dropped from the log.',
    args: pagingArguments(EVENT_PAGE),
    extensions: { pageSize: EVENT_PAGE },
    resolve: async (row, args, context) => {
      const window = readWindow(args, EVENT_PAGE, EVENT_ORDERING);
      return { page: await context.load.events.ofSession(row.id, window), count: () => context.load.events.count(row.id) };
    },
  }),
);

const SessionEventFilterInput = builder.inputRef<SessionEventFilter>('SessionEventFilter').implement({
  description: 'An event must match all fields. A field that is left out matches all events; an empty list matches none.',
  fields: t => ({
    sessionIds: t.idList({
      description: `Global ids or UUIDs, at most ${MAX_FILTER_VALUES}. The sessions need not exist yet.`,
    }),
    agentIds: t.stringList({ description: `At most ${MAX_FILTER_VALUES}.` }),
    types: t.field({ type: [SessionEventType] }),
    includeDescendants: t.boolean({
      defaultValue: false,
      description: 'Also events of all descendants of `sessionIds`, including descendants created later.',
    }),
  }),
});

const UNKNOWN_SESSION =
  'SESSION_NOT_FOUND if it does not exist. With `after`, it may have been removed for good since: its remaining events are delivered, then the ' +
  'stream completes.';

const ENDS_WITH_SESSION = 'The stream of a session completes when the session is removed for good; the trash does not end it.';

const AFTER =
  'The cursor of an event. The stream starts with the events after it, and continues live without gaps or repeats. Without a cursor it starts now. ' +
  'CURSOR_EXPIRED if events after the cursor have been dropped from the log.';

/** When a client reconnects, its transport sends the cursor of the last event. That is newer than the `after` of the document. */
const startOf = (after: string | null | undefined, { resumeAfter }: Context) => ({ after: resumeAfter ?? after });

builder.subscriptionFields(t => ({
  sessionEvents: t.field({
    type: SessionEvent,
    description: 'Every matching change, in the same order for all subscribers.',
    args: { filter: t.arg({ type: SessionEventFilterInput }), after: t.arg.string({ description: AFTER }) },
    extensions: { scope: 'READ' },
    subscribe: (_root, { filter, after }, context) => streamEvents(context.caller, context.events, filter ?? {}, startOf(after, context)),
    resolve: event => event,
  }),
  sessionStatusChanged: t.field({
    type: EVENT_OBJECTS.STATUS_CHANGED.ref,
    description: `Status changes of all sessions, of one session, or of the sessions of one agent. ${ENDS_WITH_SESSION}`,
    args: {
      sessionId: t.arg.id({ description: `Global id or UUID. ${UNKNOWN_SESSION}` }),
      agentId: t.arg.string(),
      after: t.arg.string({ description: AFTER }),
    },
    extensions: { scope: 'READ' },
    subscribe: (_root, { after, ...filter }, context) =>
      streamStatusChanges(context.caller, context.events, { ...filter, ...startOf(after, context) }),
    resolve: event => event,
  }),
  messageAdded: t.field({
    type: EVENT_OBJECTS.MESSAGE_ADDED.ref,
    description: `Messages that are added to a session. ${ENDS_WITH_SESSION}`,
    args: {
      sessionId: t.arg.id({ required: true, description: `Global id or UUID. ${UNKNOWN_SESSION}` }),
      after: t.arg.string({ description: AFTER }),
    },
    extensions: { scope: 'READ' },
    subscribe: (_root, { sessionId, after }, context) =>
      streamAddedMessages(context.caller, context.events, { sessionId, ...startOf(after, context) }),
    resolve: event => event,
  }),
}));
