import { encodeEventCursor } from '../../events/event-cursor.ts';
import { builder } from '../../graphql/builder.ts';
import { columnGroups } from '../../graphql/look-ahead.ts';
import { SESSION_PAGE, Session } from '../session/session.schema.ts';
import { SessionFilterInput, SessionOrderInput } from '../session-filter/session-filter.schema.ts';
import type { SessionListChange, SessionListEvent } from './session-list-watch.service.ts';

declare module 'graphql' {
  interface GraphQLFieldExtensions<_TSource, _TContext, _TArgs> {
    /** Of a field of a page that is no connection: what it holds of the list, which query cost is reckoned by. */
    pagePart?: 'ITEMS' | 'TOTAL';
  }
}

const SessionListChangeType = builder.enumType('SessionListChangeType', {
  description: 'What became of a session in a list.',
  values: {
    ADDED: { description: 'It is new in the list.' },
    UPDATED: { description: 'It has changed, its place perhaps too.' },
    REMOVED: { description: 'It is no longer among the sessions of the list: it may be gone, or another took its place.' },
  },
});

const SessionListChangeObject = builder.objectRef<SessionListChange>('SessionListChange').implement({
  description:
    'One step from a list to the next: take out what stands at `fromIndex`, then put `node` in at `toIndex`, each unless it is null. Both count from 0, ' +
    'in the list as the steps before have left it, `toIndex` in what remains once it is taken out.',
  fields: t => ({
    type: t.field({ type: SessionListChangeType, resolve: change => change.type }),
    sessionId: t.id({ description: "The session's bare id: a UUID.", resolve: change => change.id }),
    fromIndex: t.int({ nullable: true, description: 'Null of one that is ADDED.', resolve: change => change.fromIndex }),
    toIndex: t.int({
      nullable: true,
      description: 'Null of one that is REMOVED. The same as `fromIndex` where it keeps its place.',
      resolve: change => change.toIndex,
    }),
    node: t.field({
      type: Session,
      nullable: true,
      description: 'The session as the list has it. Null of one that is REMOVED.',
      resolve: change => change.node,
    }),
  }),
});

const SessionListEventObject = builder.objectRef<SessionListEvent>('SessionListEvent').implement({
  description: 'A list of sessions, or what has become of it since the event before.',
  fields: t => ({
    cursor: t.string({
      description:
        'A place in the log of all events: all that happened up to there is in the list. `sessionEvents(after:)` continues from it.',
      resolve: event => encodeEventCursor(event.cursor),
    }),
    total: t.int({
      extensions: { columns: 'total', pagePart: 'TOTAL' },
      description:
        'All sessions that match, also those beyond `first`; counted only when asked for, and an event of its own where it alone changes.',
      resolve: ({ total }) => {
        if (total === null) throw new Error('The total of this list was not counted.');
        return total;
      },
    }),
    snapshot: t.field({
      type: [Session],
      nullable: true,
      extensions: { pagePart: 'ITEMS' },
      description: 'The whole list, in order: the first event has it. Wherever it is not null, begin anew with it.',
      resolve: event => event.snapshot,
    }),
    changes: t.field({
      type: [SessionListChangeObject],
      extensions: { pagePart: 'ITEMS' },
      description: 'The steps from the list as of the event before, to be taken in this order. None beside a snapshot.',
      resolve: event => event.changes,
    }),
  }),
});

builder.subscriptionField('sessionList', t =>
  t.field({
    type: SessionListEventObject,
    description:
      'The first sessions that match, kept up to date: a snapshot, as `sessions` gives it with the same arguments, then its changes, also where a session ' +
      'comes to match or no longer does, moves, goes to the trash or is removed, or another moves up into the last place. Changes that come close ' +
      'together, or while the client does not read, are told as one. It does not resume: after a lost connection it begins with a snapshot.',
    args: {
      filter: t.arg({ type: SessionFilterInput }),
      orderBy: t.arg({ type: [SessionOrderInput] }),
      first: t.arg.int({ description: `How many: ${SESSION_PAGE.default} where left out, at most ${SESSION_PAGE.max}.` }),
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
