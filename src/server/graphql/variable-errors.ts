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

/** Cuts a message of graphql-js, which repeats the whole rejected value. */
export function shorten(message: string): string {
  return message.length <= MAX_MESSAGE ? message : `${message.slice(0, MAX_MESSAGE)}…`;
}

/** The name of a type with its article: `an ID!`, `a String!`, `a [Int!]`. */
function withArticle(type: string): string {
  return /^\[*[AEIO]/.test(type) ? `an ${type}` : `a ${type}`;
}

function toInputError(field: string, error: GraphQLError): DomainError {
  const cause = error.originalError;
  if (cause instanceof DomainError) return new DomainError(cause.code, cause.message, { ...cause.details, field });
  return new DomainError('BAD_USER_INPUT', `${field}: ${shorten(error.message)}`, { field });
}

function* findErrors(
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
    const errors: GraphQLError[] = [];
    const onError = (path: readonly (string | number)[], _value: unknown, error: GraphQLError) => {
      const field = [name, ...path].join('.');
      if (errors.length < MAX_ERRORS) errors.push(new GraphQLError('', { nodes: node, originalError: toInputError(field, error) }));
    };
    coerceInputValue(values[name], type, onError, hideSuggestions);
    yield* errors;
  }
}

/**
 * The errors in the variables of a request: at most 20 BAD_USER_INPUT, with `details.field` as the path, such as `input.tags.3`. Empty if the
 * variables are valid. graphql-js reports the path in its messages only.
 */
export function findVariableErrors(args: ExecutionArgs): GraphQLError[] {
  const operation = getOperationAST(args.document, args.operationName);
  if (!operation) return [];
  const errors: GraphQLError[] = [];
  for (const error of findErrors(args.schema, operation, args.variableValues ?? {}, args.hideSuggestions ?? false)) {
    errors.push(error);
    if (errors.length === MAX_ERRORS) break;
  }
  return errors;
}
