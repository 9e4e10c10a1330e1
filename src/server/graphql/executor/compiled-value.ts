import {
  type FieldNode,
  GraphQLError,
  GraphQLID,
  type GraphQLInterfaceType,
  type GraphQLLeafType,
  type GraphQLObjectType,
  type GraphQLOutputType,
  type GraphQLResolveInfo,
  GraphQLString,
  type GraphQLUnionType,
  isAbstractType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
} from 'graphql';
import { estimatedJsonSize, PLAIN_BYTES, PUNCTUATION_BYTES } from '../../../postgres/json-size.ts';
import type { Selection } from './compiled-selection.ts';
import { type ExecutionRun, isPromise, type Path, rejectAfter, toFieldError } from './execution-run.ts';

/**
 * Completes what a resolver returned: checks and serializes it, and executes the selection inside it.
 * @param info of the field; null for a leaf
 * @returns the value for the response, or a promise of it
 * @throws the error that makes the value null
 */
export type CompleteValue = (value: unknown, path: Path | undefined, info: GraphQLResolveInfo | null, run: ExecutionRun) => unknown;

/** The field whose values are completed. */
export interface CompletedField {
  readonly nodes: readonly FieldNode[];
  /** The parent type and the field: `Session.title`. */
  readonly name: string;
  /** The selection inside the field's objects of a type. */
  selectionOf(type: GraphQLObjectType): Selection;
}

/** Compiles the completion of a type's values. The algorithm is "Value Completion" of the GraphQL specification, as graphql-js implements it. */
export function compileValue(field: CompletedField, type: GraphQLOutputType): CompleteValue {
  if (!isNonNullType(type)) return compileNullable(field, type);
  if (isLeafType(type.ofType)) return compileLeaf(field, type.ofType, false);
  const complete = compileNullable(field, type.ofType);
  const assertPresent = (completed: unknown) => {
    if (completed === null) throw new Error(`Cannot return null for non-nullable field ${field.name}.`);
    return completed;
  };
  return (value, path, info, run) => {
    const completed = complete(value, path, info, run);
    return isPromise(completed) ? completed.then(assertPresent) : assertPresent(completed);
  };
}

function compileNullable(field: CompletedField, type: GraphQLOutputType): CompleteValue {
  if (isLeafType(type)) return compileLeaf(field, type, true);
  const complete = compilePresent(field, type);
  return (value, path, info, run) => {
    if (value === null || value === undefined) {
      run.dataSize += PLAIN_BYTES;
      return null;
    }
    if (value instanceof Error) throw value;
    return complete(value, path, info, run);
  };
}

function compilePresent(field: CompletedField, type: GraphQLOutputType): CompleteValue {
  if (isListType(type)) return compileList(field, type.ofType);
  if (isObjectType(type)) return (value, path, _info, run) => field.selectionOf(type).execute(value, path, run);
  if (isAbstractType(type)) return compileAbstract(field, type);
  throw new Error(`${String(type)} is not an output type.`);
}

/** In one function: most fields of a response are leaves. */
function compileLeaf({ name }: CompletedField, type: GraphQLLeafType, isNullable: boolean): CompleteValue {
  const serializesTextAsItIs = type === GraphQLString || type === GraphQLID;
  return (value, _path, _info, run) => {
    if (serializesTextAsItIs && typeof value === 'string') {
      run.dataSize += value.length + PUNCTUATION_BYTES;
      return value;
    }
    if (value === null || value === undefined) {
      if (!isNullable) throw new Error(`Cannot return null for non-nullable field ${name}.`);
      run.dataSize += PLAIN_BYTES;
      return null;
    }
    if (value instanceof Error) throw value;
    const serialized: unknown = type.serialize(value);
    if (serialized === null || serialized === undefined) throw new Error(`${type.name} cannot represent a ${typeof value}.`);
    run.dataSize += typeof serialized === 'string' ? serialized.length + PUNCTUATION_BYTES : estimatedJsonSize(serialized);
    return serialized;
  };
}

function compileList(field: CompletedField, itemType: GraphQLOutputType): CompleteValue {
  const complete = compileValue(field, itemType);
  const isNullable = !isNonNullType(itemType);

  function fail(error: unknown, path: Path, run: ExecutionRun): null {
    const located = toFieldError(error, field.nodes, path);
    if (!isNullable) throw located;
    run.addError(located, path);
    return null;
  }

  // Functions of their own: if the closures were in the loop's function, each item would allocate what they capture.
  function completeLater(item: PromiseLike<unknown>, path: Path, info: GraphQLResolveInfo | null, run: ExecutionRun): unknown {
    return item.then(value => complete(value, path, info, run));
  }

  function awaitItem(completed: PromiseLike<unknown>, path: Path, run: ExecutionRun): unknown {
    return completed.then(undefined, error => fail(error, path, run));
  }

  function completeItem(item: unknown, path: Path, info: GraphQLResolveInfo | null, run: ExecutionRun): unknown {
    try {
      const completed = isPromise(item) ? completeLater(item, path, info, run) : complete(item, path, info, run);
      return isPromise(completed) ? awaitItem(completed, path, run) : completed;
    } catch (error) {
      return fail(error, path, run);
    }
  }

  return (list, prev, info, run) => {
    if (!isIterable(list)) throw new GraphQLError(`Expected Iterable, but did not find one for field "${field.name}".`);
    run.dataSize += PUNCTUATION_BYTES;
    const items: unknown[] = [];
    let hasPromise = false;
    try {
      for (const item of list) {
        const completed = completeItem(item, { prev, key: items.length, typename: undefined }, info, run);
        items.push(completed);
        hasPromise ||= isPromise(completed);
      }
    } catch (error) {
      if (!hasPromise) throw error;
      return rejectAfter(items, error);
    }
    return hasPromise ? Promise.all(items) : items;
  };
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value;
}

function compileAbstract(field: CompletedField, type: GraphQLInterfaceType | GraphQLUnionType): CompleteValue {
  function executeAs(name: unknown, value: unknown, path: Path | undefined, run: ExecutionRun): unknown {
    const { schema } = run.parts;
    const found = typeof name === 'string' ? schema.getType(name) : undefined;
    if (!isObjectType(found) || !schema.isSubType(type, found)) {
      throw new GraphQLError(`${String(name)} is not an object type of ${type.name}, which ${field.name} returns.`, {
        nodes: [...field.nodes],
      });
    }
    return field.selectionOf(found).execute(value, path, run);
  }
  return (value, path, info, run) => {
    if (type.resolveType == null || info === null) throw new Error(`${type.name} has no resolveType function.`);
    const name = type.resolveType(value, run.context, info, type);
    return isPromise(name) ? name.then(resolved => executeAs(resolved, value, path, run)) : executeAs(name, value, path, run);
  };
}
