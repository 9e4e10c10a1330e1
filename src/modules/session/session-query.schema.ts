import { parseSessionId } from '../../global-id.ts';
import { builder } from '../../graphql/builder.ts';
import { connectionGroups, pagingArguments } from '../../graphql/connection.ts';
import { columnGroups } from '../../graphql/look-ahead.ts';
import { readWindow } from '../../postgres/keyset.ts';
import { SessionFilterInput, SessionOrderInput } from '../session-filter/session-filter.schema.ts';
import { sessionConditions } from '../session-filter/session-filter.sql.ts';
import { sessionOrdering } from '../session-filter/session-order.sql.ts';
import { sessionSearch } from '../session-filter/session-search.sql.ts';
import { SESSION_PAGE, Session, SessionConnection } from './session.schema.ts';

builder.queryFields(t => ({
  session: t.field({
    type: Session,
    nullable: true,
    description: 'The session with this id, also from the trash. Null if it does not exist or the caller may not see it.',
    args: { id: t.arg.id({ required: true, description: 'Global id or UUID.' }) },
    extensions: { scope: 'READ' },
    resolve: (_root, { id }, context, info) => {
      const sessionId = parseSessionId(id);
      return sessionId === null ? null : context.load.sessions.byId(sessionId, columnGroups(info, [[]]));
    },
  }),
  sessions: t.field({
    type: SessionConnection,
    description: 'The sessions that match the filter. Default order: last activity, newest first.',
    args: { ...pagingArguments(SESSION_PAGE), filter: t.arg({ type: SessionFilterInput }), orderBy: t.arg({ type: [SessionOrderInput] }) },
    extensions: { scope: 'READ', pageSize: SESSION_PAGE },
    resolve: async (_root, args, context, info) => {
      const ordering = sessionOrdering(args.orderBy, ['sessions', args.filter]);
      const window = readWindow(args, SESSION_PAGE, ordering);
      const conditions = sessionConditions(args.filter, context.viewer);
      return {
        page: await context.load.sessions.page(
          { conditions, ordering, search: sessionSearch(args.filter, context.viewer) },
          window,
          connectionGroups(info),
        ),
        count: () => context.load.sessions.count({ conditions }),
      };
    },
  }),
}));
