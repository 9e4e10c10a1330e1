import {
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLError,
  type GraphQLResolveInfo,
  type GraphQLSchema,
  locatedError,
  type OperationDefinitionNode,
} from 'graphql';

/** The place of a value in the response. Errors and resolvers' `info` refer to it. */
export type Path = GraphQLResolveInfo['path'];

/** What all executions of an operation have in common. */
export interface OperationParts {
  readonly schema: GraphQLSchema;
  readonly operation: OperationDefinitionNode;
  readonly fragments: Record<string, FragmentDefinitionNode>;
}

/** The arguments of each field that has been executed, by the field's number. All objects of a list share them. */
export type FieldArguments = (Readonly<Record<string, unknown>> | undefined)[];

/** The state of one execution of an operation. */
export class ExecutionRun {
  readonly parts: OperationParts;
  readonly rootValue: unknown;
  readonly context: unknown;
  /** Coerced. */
  readonly variables: Record<string, unknown>;
  readonly errors: GraphQLError[] = [];
  readonly fieldArguments: FieldArguments;
  /** The approximate size of the data as JSON, in bytes. */
  dataSize = 0;
  /** The paths whose values became null because of an error. */
  readonly #nulled = new Set<Path | undefined>();

  constructor(
    parts: OperationParts,
    rootValue: unknown,
    context: unknown,
    { variables, fieldArguments }: { readonly variables: Record<string, unknown>; readonly fieldArguments: FieldArguments },
  ) {
    this.parts = parts;
    this.rootValue = rootValue;
    this.context = context;
    this.variables = variables;
    this.fieldArguments = fieldArguments;
  }

  /**
   * Adds the error that makes the value at a path null. Ignored if a value around it is null already, as in graphql-js: the response does not
   * have that place any more.
   */
  addError(error: GraphQLError, path: Path | undefined): void {
    for (let place = path; place !== undefined; place = place.prev) if (this.#nulled.has(place)) return;
    if (this.#nulled.has(undefined)) return;
    this.#nulled.add(path);
    this.errors.push(error);
  }
}

/** The error of a field with its place in the document and in the response. */
export function toFieldError(error: unknown, nodes: readonly FieldNode[], path: Path | undefined): GraphQLError {
  const keys: (string | number)[] = [];
  for (let place = path; place !== undefined; place = place.prev) keys.push(place.key);
  return locatedError(error, [...nodes], keys.reverse());
}

/** Whether a resolver's value must be awaited. */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

/** Rejects with an error after other work of the same object or list has ended: nobody else handles the errors of that work. */
export async function rejectAfter(pending: readonly unknown[], error: unknown): Promise<never> {
  await Promise.allSettled(pending);
  throw error;
}
