import type { GraphQLSchema } from 'graphql';
import './graphql/scalars.ts';
import './graphql/node.ts';
import './modules/usage/usage.schema.ts';
import './modules/session-filter/session-filter.schema.ts';
import './modules/agent/agent.schema.ts';
import './modules/session/session.schema.ts';
import './modules/session/session-query.schema.ts';
import './modules/session-mutation/session-mutation.schema.ts';
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
import { assertScope } from './modules/viewer/viewer.rules.ts';

/**
 * Builds the schema. The schema files imported above have added their types and fields to the builder. Each root field checks its scope.
 * Introspection lists fields and enum values in the order in which they are declared.
 */
export function createSchema(): GraphQLSchema {
  return guardRootFields(builder.toSchema({ sortSchema: false }), assertScope);
}
