import { type GraphQLField, type GraphQLSchema, OperationTypeNode } from 'graphql';
import type { Context } from '../context.ts';
import { requestTimeout } from '../errors.ts';
import { type ApiScope, assertScope, isApiScope } from '../modules/viewer/viewer.rules.ts';

declare module 'graphql' {
  interface GraphQLFieldExtensions<_TSource, _TContext, _TArgs> {
    /** Of a field of Query, Mutation or Subscription: the scope it takes. */
    scope?: ApiScope;
  }
}

/**
 * Makes every field of Query, Mutation and Subscription ask for the scope it declares, before it is resolved or subscribed to. A field of a
 * mutation is not begun any more once its operation has been answered with REQUEST_TIMEOUT.
 * @throws Error naming a field that declares none
 */
export function guardRootFields(schema: GraphQLSchema): GraphQLSchema {
  for (const operation of Object.values(OperationTypeNode)) {
    for (const field of Object.values(schema.getRootType(operation)?.getFields() ?? {})) guard(field, operation);
  }
  return schema;
}

function guard(field: GraphQLField<unknown, Context>, operation: OperationTypeNode): void {
  const { scope } = field.extensions;
  if (!isApiScope(scope)) {
    throw new Error(`The ${operation} ${field.name} declares no scope: give it \`extensions: { scope: 'READ' }\` or a higher one.`);
  }
  const enter = operation === OperationTypeNode.SUBSCRIPTION ? 'subscribe' : 'resolve';
  const proceed = field[enter];
  if (proceed === undefined) throw new Error(`The ${operation} ${field.name} has no function to ${enter}.`);
  field[enter] = (root, args, context, info) => {
    assertScope(context.viewer, scope, `for ${field.name}`);
    if (operation === OperationTypeNode.MUTATION && context.isTimeUp()) throw requestTimeout();
    return proceed(root, args, context, info);
  };
}
