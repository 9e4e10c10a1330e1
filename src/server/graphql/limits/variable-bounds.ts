import { type GraphQLInputFieldMap, type GraphQLInputType, getNamedType, getNullableType, isInputObjectType, isListType } from 'graphql';
import { DomainError } from '../../../errors.ts';
import { MAX_VALUE_DEPTH } from './query-shape.ts';

/** Limits of a request's variables. */
export interface VariableBounds {
  /** Nesting of lists and objects. */
  readonly maxDepth: number;
  /** Values of the schema's input types, including lists and objects. Each is checked and copied with all its fields. */
  readonly maxInputs: number;
  /** Values inside JSON, which are not checked. */
  readonly maxJsonValues: number;
}

/** A request with 100 complete messages or with a million characters of typical JSON stays below these limits. */
const VARIABLE_BOUNDS: VariableBounds = { maxDepth: MAX_VALUE_DEPTH, maxInputs: 10_000, maxJsonValues: 500_000 };

interface Pending {
  readonly value: object;
  /** Null inside JSON, and for fields that the schema does not have. */
  readonly type: GraphQLInputType | null;
  readonly depth: number;
}

/** The type of a list's items; null inside JSON. */
function itemTypeOf(type: GraphQLInputType | null): GraphQLInputType | null {
  const list = type && getNullableType(type);
  return isListType(list) ? list.ofType : null;
}

function fieldsOf(type: GraphQLInputType | null): GraphQLInputFieldMap | null {
  // A single object is also valid where the schema has a list.
  const named = type && getNamedType(type);
  return isInputObjectType(named) ? named.getFields() : null;
}

function excessError(code: 'QUERY_TOO_DEEP' | 'QUERY_TOO_COMPLEX', problem: string, limit: number): DomainError {
  return new DomainError(code, `The variables ${problem}; at most ${limit} are allowed.`, { limit });
}

/**
 * QUERY_TOO_DEEP or QUERY_TOO_COMPLEX if the variables exceed a limit, otherwise null. It checks the variables before they are coerced,
 * which is expensive. It does not recurse, and it stops at the limit.
 * @param types of the variables that the operation declares; others are never used
 */
export function findVariableExcess(
  types: ReadonlyMap<string, GraphQLInputType>,
  variables: Readonly<Record<string, unknown>>,
  bounds: VariableBounds = VARIABLE_BOUNDS,
): DomainError | null {
  const pending: Pending[] = [];
  let inputs = 0;
  let jsonValues = 0;

  function count(value: unknown, type: GraphQLInputType | null, depth: number): void {
    if (type === null) jsonValues += 1;
    else inputs += 1;
    if (typeof value === 'object' && value !== null) pending.push({ value, type, depth });
  }

  for (const [name, type] of types) if (Object.hasOwn(variables, name)) count(variables[name], type, 1);
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { value, type, depth } = next;
    if (depth > bounds.maxDepth) return excessError('QUERY_TOO_DEEP', 'have too many levels of nested values', bounds.maxDepth);
    if (Array.isArray(value)) {
      const item = itemTypeOf(type);
      // One item more than the limit is enough to exceed it.
      for (const inner of value.slice(0, 1 + (item === null ? bounds.maxJsonValues : bounds.maxInputs))) count(inner, item, depth + 1);
    } else {
      const fields = fieldsOf(type);
      for (const [key, inner] of Object.entries(value)) count(inner, fields?.[key]?.type ?? null, depth + 1);
    }
    if (inputs > bounds.maxInputs) return excessError('QUERY_TOO_COMPLEX', 'have too many values', bounds.maxInputs);
    if (jsonValues > bounds.maxJsonValues) return excessError('QUERY_TOO_COMPLEX', 'have too many values in JSON', bounds.maxJsonValues);
  }
  return null;
}
