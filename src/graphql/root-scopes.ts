import { type GraphQLField, type GraphQLSchema, OperationTypeNode } from 'graphql';
import type { Context } from '../context.ts';
import { requestTimeout } from '../errors.ts';

type Viewer = Context['viewer'];
type Scope = Viewer['scopes'][number];

declare module 'graphql' {
  interface GraphQLFieldExtensions<_TSource, _TContext, _TArgs> {
    /** The scope that a caller needs for this field of Query, Mutation or Subscription. */
    scope?: Scope;
  }
}

/**
 * Throws FORBIDDEN if the viewer lacks the scope.
 * @param action what the scope is needed for, as the end of a sentence
 */
type AssertScope = (viewer: Viewer, scope: Scope, action: string) => void;

/**
 * Makes each field of Query, Mutation and Subscription check the scope it declares before it resolves or subscribes. A mutation field
 * also checks that its operation has not been answered with REQUEST_TIMEOUT.
 * @throws Error naming a field that declares no scope
 */
export function guardRootFields(schema: GraphQLSchema, assertScope: AssertScope): GraphQLSchema {
  for (const operation of Object.values(OperationTypeNode)) {
    for (const field of Object.values(schema.getRootType(operation)?.getFields() ?? {})) guard(field, operation, assertScope);
  }
  return schema;
}

function guard(field: GraphQLField<unknown, Context>, operation: OperationTypeNode, assertScope: AssertScope): void {
  const { scope } = field.extensions;
  if (scope === undefined) {
    throw new Error(`The ${operation} ${field.name} declares no scope: give it \`extensions: { scope: 'READ' }\` or a higher one.`);
  }
  const method = operation === OperationTypeNode.SUBSCRIPTION ? 'subscribe' : 'resolve';
  const proceed = field[method];
  if (proceed === undefined) throw new Error(`The ${operation} ${field.name} has no ${method} function.`);
  field[method] = (root, args, context, info) => {
    assertScope(context.viewer, scope, `for ${field.name}`);
    if (operation === OperationTypeNode.MUTATION && context.isTimedOut()) throw requestTimeout();
    return proceed(root, args, context, info);
  };
}
