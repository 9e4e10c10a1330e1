import {
  type GraphQLInputFieldMap,
  type GraphQLInputType,
  type GraphQLSchema,
  getNamedType,
  getNullableType,
  isInputObjectType,
  isInputType,
  isListType,
  type OperationDefinitionNode,
  typeFromAST,
} from 'graphql';
import { DomainError } from '../../../errors.ts';
import { MAX_VALUE_DEPTH } from './query-shape.ts';

/** What a request's variables may be at the most. */
export interface VariableBounds {
  /** Lists and objects within one another. */
  readonly maxDepth: number;
  /** Values, lists and objects of the schema's input types: each is checked and made anew with all its fields. */
  readonly maxInputs: number;
  /** Values within JSON, which are the caller's own and only passed on. */
  readonly maxJsonValues: number;
}

/** Beyond what 100 messages with all their fields, and a million characters of JSON, can honestly hold. */
const VARIABLE_BOUNDS: VariableBounds = { maxDepth: MAX_VALUE_DEPTH, maxInputs: 10_000, maxJsonValues: 500_000 };

interface Pending {
  readonly value: object;
  /** Null within JSON, and for what the schema does not know. */
  readonly type: GraphQLInputType | null;
  readonly depth: number;
}

function typesOfVariables(schema: GraphQLSchema, operation: OperationDefinitionNode): Map<string, GraphQLInputType> {
  const types = new Map<string, GraphQLInputType>();
  for (const { variable, type: node } of operation.variableDefinitions ?? []) {
    const type = typeFromAST(schema, node);
    if (isInputType(type)) types.set(variable.name.value, type);
  }
  return types;
}

/** Null for the items of a list within JSON. */
function itemTypeOf(type: GraphQLInputType | null): GraphQLInputType | null {
  const list = type && getNullableType(type);
  return isListType(list) ? list.ofType : null;
}

function fieldsOf(type: GraphQLInputType | null): GraphQLInputFieldMap | null {
  // An object is taken for a list of one.
  const named = type && getNamedType(type);
  return isInputObjectType(named) ? named.getFields() : null;
}

function refuse(code: 'QUERY_TOO_DEEP' | 'QUERY_TOO_COMPLEX', what: string, limit: number): DomainError {
  return new DomainError(code, `The variables have ${what}; at most ${limit} are allowed.`, { field: 'variables', limit });
}

/**
 * QUERY_TOO_DEEP or QUERY_TOO_COMPLEX where the variables go beyond a bound, else null. Looks before they are coerced, without
 * recursion, and stops at the bound.
 */
export function findVariableExcess(
  schema: GraphQLSchema,
  operation: OperationDefinitionNode,
  variables: Readonly<Record<string, unknown>>,
  bounds: VariableBounds = VARIABLE_BOUNDS,
): DomainError | null {
  const types = typesOfVariables(schema, operation);
  const pending: Pending[] = [];
  let inputs = 0;
  let jsonValues = 0;

  function take(value: unknown, type: GraphQLInputType | null, depth: number): void {
    if (type === null) jsonValues += 1;
    else inputs += 1;
    if (typeof value === 'object' && value !== null) pending.push({ value, type, depth });
  }

  // What the operation does not declare is never looked at again.
  for (const [name, type] of types) if (Object.hasOwn(variables, name)) take(variables[name], type, 1);
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { value, type, depth } = next;
    if (depth > bounds.maxDepth) return refuse('QUERY_TOO_DEEP', 'values nested too deep', bounds.maxDepth);
    if (Array.isArray(value)) {
      const item = itemTypeOf(type);
      // As many as the bound and one more are enough to know.
      for (const inner of value.slice(0, 1 + (item === null ? bounds.maxJsonValues : bounds.maxInputs))) take(inner, item, depth + 1);
    } else {
      const fields = fieldsOf(type);
      for (const [key, inner] of Object.entries(value)) take(inner, fields?.[key]?.type ?? null, depth + 1);
    }
    if (inputs > bounds.maxInputs) return refuse('QUERY_TOO_COMPLEX', 'too many values', bounds.maxInputs);
    if (jsonValues > bounds.maxJsonValues) return refuse('QUERY_TOO_COMPLEX', 'too many values in JSON', bounds.maxJsonValues);
  }
  return null;
}
