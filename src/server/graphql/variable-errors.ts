import {
  coerceInputValue,
  type ExecutionArgs,
  GraphQLError,
  type GraphQLInputType,
  type GraphQLSchema,
  getOperationAST,
  isInputType,
  type OperationDefinitionNode,
  typeFromAST,
} from 'graphql';
import { badInput, DomainError } from '../../errors.ts';

const MAX_ERRORS = 20;
const MAX_MESSAGE = 300;

/** A message of graphql-js with an end: it repeats what it refuses, whole. */
export function shorten(message: string): string {
  return message.length <= MAX_MESSAGE ? message : `${message.slice(0, MAX_MESSAGE)}…`;
}

/** The name of a type as a sentence has it: `an ID!`, `a String!`, `a [Int!]`. */
function withArticle(type: string): string {
  return /^\[*[AEIO]/.test(type) ? `an ${type}` : `a ${type}`;
}

function refusal(field: string, error: GraphQLError): DomainError {
  const cause = error.originalError;
  if (cause instanceof DomainError) return new DomainError(cause.code, cause.message, { ...cause.details, field });
  return new DomainError('BAD_USER_INPUT', `${field}: ${shorten(error.message)}`, { field });
}

function* faultsOf(
  schema: GraphQLSchema,
  operation: OperationDefinitionNode,
  values: Readonly<Record<string, unknown>>,
  hideSuggestions: boolean,
): Generator<GraphQLError> {
  for (const node of operation.variableDefinitions ?? []) {
    const name = node.variable.name.value;
    const type = typeFromAST(schema, node.type) as GraphQLInputType | undefined;
    if (!isInputType(type)) continue;
    if (!Object.hasOwn(values, name)) {
      if (node.type.kind === 'NonNullType' && node.defaultValue === undefined) {
        yield new GraphQLError('', { nodes: node, originalError: badInput(name, `is required: ${withArticle(String(type))}`) });
      }
      continue;
    }
    const faults: GraphQLError[] = [];
    const onError = (path: readonly (string | number)[], _value: unknown, error: GraphQLError) => {
      const field = [name, ...path].join('.');
      if (faults.length < MAX_ERRORS) faults.push(new GraphQLError('', { nodes: node, originalError: refusal(field, error) }));
    };
    coerceInputValue(values[name], type, onError, hideSuggestions);
    yield* faults;
  }
}

/**
 * Why the variables of a request do not fit: one BAD_USER_INPUT per fault, at most 20, `details.field` its path
 * such as `input.tags.3`. Empty where they fit. graphql-js tells the same in messages only.
 */
export function findVariableErrors(args: ExecutionArgs): GraphQLError[] {
  const operation = getOperationAST(args.document, args.operationName);
  if (!operation) return [];
  const errors: GraphQLError[] = [];
  for (const fault of faultsOf(args.schema, operation, args.variableValues ?? {}, args.hideSuggestions ?? false)) {
    errors.push(fault);
    if (errors.length === MAX_ERRORS) break;
  }
  return errors;
}
