import type { GraphQLSchema } from 'graphql';
import './graphql/scalars.ts';
import './graphql/node.ts';
import './modules/usage/usage.schema.ts';
import './modules/session-filter/session-filter.schema.ts';
import './modules/agent/agent.schema.ts';
import './modules/session/session.schema.ts';
import './modules/session/session-query.schema.ts';
import './modules/session/session-mutation.schema.ts';
import './modules/agent/agent-sessions.schema.ts';
import './modules/message/message.schema.ts';
import './modules/message/message-mutation.schema.ts';
import './modules/search/search.schema.ts';
import './modules/event/event.schema.ts';
import './modules/session-list/session-list.schema.ts';
import './modules/server-info/server-info.schema.ts';
import './modules/viewer/viewer.schema.ts';
import './modules/api-key/api-key.schema.ts';
import { builder } from './graphql/builder.ts';
import { guardRootFields } from './graphql/root-scopes.ts';

/** The whole schema: every module's schema file adds to the one builder as it is imported. Each root field asks for its scope. */
export function createSchema(): GraphQLSchema {
  return guardRootFields(builder.toSchema());
}
