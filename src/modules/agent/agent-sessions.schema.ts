import { builder } from '../../graphql/builder.ts';
import { connectionGroups, pagingArguments } from '../../graphql/connection.ts';
import { readWindow } from '../../postgres/keyset.ts';
import { SESSION_PAGE, SessionConnection } from '../session/session.schema.ts';
import { SessionFilterInput, SessionOrderInput } from '../session-filter/session-filter.schema.ts';
import { sessionConditions } from '../session-filter/session-filter.sql.ts';
import { sessionOrdering } from '../session-filter/session-order.sql.ts';
import { Agent } from './agent.schema.ts';

// In a file of its own because Agent and Session refer to each other, and session.schema.ts imports agent.schema.ts.
builder.objectField(Agent, 'sessions', t =>
  t.field({
    type: SessionConnection,
    description: "The agent's sessions. Default order: last activity, newest first.",
    args: { ...pagingArguments(SESSION_PAGE), filter: t.arg({ type: SessionFilterInput }), orderBy: t.arg({ type: [SessionOrderInput] }) },
    extensions: { pageSize: SESSION_PAGE },
    resolve: async (row, args, context, info) => {
      const ordering = sessionOrdering(args.orderBy, ['agent.sessions', args.filter]);
      const list = { by: 'agent', conditions: sessionConditions(args.filter, context.viewer), ordering } as const;
      const window = readWindow(args, SESSION_PAGE, ordering);
      return {
        page: await context.load.sessions.pageOf(row.agentId, list, window, connectionGroups(info)),
        count: () => context.load.sessions.countOf(row.agentId, list),
      };
    },
  }),
);
