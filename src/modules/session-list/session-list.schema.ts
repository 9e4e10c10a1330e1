import { encodeEventCursor } from '../../events/event-cursor.ts';
import { builder } from '../../graphql/builder.ts';
import { columnGroups } from '../../graphql/look-ahead.ts';
import { SESSION_PAGE, Session } from '../session/session.schema.ts';
import { SessionFilterInput, SessionOrderInput } from '../session-filter/session-filter.schema.ts';
import type { SessionListChange, SessionListEvent } from './session-list-watch.service.ts';

declare module 'graphql' {
  interface GraphQLFieldExtensions<_TSource, _TContext, _TArgs> {
    /** What a field of a page contains, if the page is not a connection. The query cost depends on it. */
    pagePart?: 'ITEMS' | 'TOTAL';
  }
}

const SessionListChangeType = builder.enumType('SessionListChangeType', {
  description: 'What happened to a session in a list.',
  values: {
    ADDED: { description: 'The session entered the list.' },
    REMOVED: {
      description: 'The session left the list: it no longer matches, was deleted, or was displaced beyond `first` by another session.',
    },
    UPDATED: { description: 'The session changed, moved within the list, or both.' },
  },
});

const SessionListChangeObject = builder.objectRef<SessionListChange>('SessionListChange').implement({
  description:
    'One step from a list to the next: remove the item at `fromIndex`, then insert `node` at `toIndex`; skip what is null. Indexes count from 0. ' +
    '`fromIndex` applies to the list after the previous steps, `toIndex` to that list after the removal.',
  fields: t => ({
    type: t.field({ type: SessionListChangeType, resolve: change => change.type }),
    sessionId: t.id({ description: "The session's UUID.", resolve: change => change.id }),
    fromIndex: t.int({ nullable: true, description: 'Null if the type is ADDED.', resolve: change => change.fromIndex }),
    toIndex: t.int({
      nullable: true,
      description: 'Null if the type is REMOVED. Equal to `fromIndex` if the session does not move.',
      resolve: change => change.toIndex,
    }),
    node: t.field({
      type: Session,
      nullable: true,
      description: 'The session. Null if the type is REMOVED.',
      resolve: change => change.node,
    }),
  }),
});

const SessionListEventObject = builder.objectRef<SessionListEvent>('SessionListEvent').implement({
  description: 'A list of sessions, or its changes since the previous event.',
  fields: t => ({
    cursor: t.string({
      description: 'A position in the event log. The list includes everything up to there; `sessionEvents(after:)` can continue from it.',
      resolve: event => encodeEventCursor(event.cursor),
    }),
    total: t.int({
      extensions: { columns: 'total', pagePart: 'TOTAL' },
      description:
        'Number of matching sessions, including those beyond `first`. Counted only if selected. If only this number changes, an event without changes is sent.',
      resolve: ({ total }) => {
        if (total === null) throw new Error('The total of this list was not counted.');
        return total;
      },
    }),
    snapshot: t.field({
      type: [Session],
      nullable: true,
      extensions: { pagePart: 'ITEMS' },
      description: 'The whole list, in order. The first event has it. Whenever it is not null, it replaces the list.',
      resolve: event => event.snapshot,
    }),
    changes: t.field({
      type: [SessionListChangeObject],
      extensions: { pagePart: 'ITEMS' },
      description: 'The steps from the list of the previous event, in order. Empty if there is a snapshot.',
      resolve: event => event.changes,
    }),
  }),
});

builder.subscriptionField('sessionList', t =>
  t.field({
    type: SessionListEventObject,
    description:
      'The first matching sessions, kept up to date. The first event is a snapshot, the same list as `sessions` returns with these arguments. The ' +
      'following events are its changes: sessions that enter, leave, move or change. Changes in quick succession are combined, and so are changes ' +
      'while the client does not read. It cannot be resumed: after a lost connection, a new subscription starts with a snapshot.',
    args: {
      filter: t.arg({ type: SessionFilterInput }),
      orderBy: t.arg({ type: [SessionOrderInput] }),
      first: t.arg.int({ description: `Number of sessions; ${SESSION_PAGE.default} by default, at most ${SESSION_PAGE.max}.` }),
    },
    extensions: { scope: 'READ', pageSize: SESSION_PAGE },
    subscribe: (_root, args, { sessionLists, viewer }, info) =>
      sessionLists.open(viewer, {
        ...args,
        pageSize: SESSION_PAGE,
        groups: columnGroups(info, [['snapshot'], ['changes', 'node']]),
        withTotal: columnGroups(info, [[]]).includes('total'),
      }),
    resolve: event => event,
  }),
);
