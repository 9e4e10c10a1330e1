import {
  BREAK,
  defaultFieldResolver,
  type FieldNode,
  type GraphQLField,
  type GraphQLObjectType,
  type GraphQLResolveInfo,
  type GraphQLSchema,
  getArgumentValues,
  getNamedType,
  getNullableType,
  isAbstractType,
  isLeafType,
  isNonNullType,
  SchemaMetaFieldDef,
  TypeMetaFieldDef,
  TypeNameMetaFieldDef,
  visit,
} from 'graphql';
import { collectSubfields } from 'graphql/execution/collectFields.js';
import { PUNCTUATION_BYTES } from '../../../postgres/json-size.ts';
import { compileValue } from './compiled-value.ts';
import { type ExecutionRun, isPromise, type OperationParts, type Path, rejectAfter, toFieldError } from './execution-run.ts';

/** The fields that an operation selects of an object type, ready to execute. */
export interface Selection {
  /**
   * Executes the fields of one object.
   * @param path of the object
   * @returns the object of the response, or a promise of it
   * @throws the error of a field that cannot be null
   */
  execute(source: unknown, path: Path | undefined, run: ExecutionRun): ResponseObject | Promise<ResponseObject>;
}

/** An object of the response, with its values by their names in the response. */
type ResponseObject = Record<string, unknown>;

/** Compiles selections of one operation. */
export interface SelectionCompiler {
  /** @param fields by their names in the response: the nodes that are merged into one field */
  compile(type: GraphQLObjectType, fields: ReadonlyMap<string, readonly FieldNode[]>): Selection;
}

/** Executes a field of an object. Returns the value for the response, or a promise of it; throws the error of a field that cannot be null. */
type ExecuteField = (source: unknown, objectPath: Path | undefined, run: ExecutionRun) => unknown;

/** Returns the value of the field of an object. @param info null if the resolver does not take it */
type Resolve = (source: unknown, run: ExecutionRun, info: GraphQLResolveInfo | null) => unknown;

const NO_ARGUMENTS = Object.freeze({});

function definitionOf(schema: GraphQLSchema, parent: GraphQLObjectType, node: FieldNode): GraphQLField<unknown, unknown> | undefined {
  const name = node.name.value;
  if (name === TypeNameMetaFieldDef.name) return TypeNameMetaFieldDef;
  if (parent === schema.getQueryType()) {
    if (name === SchemaMetaFieldDef.name) return SchemaMetaFieldDef;
    if (name === TypeMetaFieldDef.name) return TypeMetaFieldDef;
  }
  return parent.getFields()[name];
}

function usesVariables(node: FieldNode): boolean {
  let found = false;
  for (const argument of node.arguments ?? []) {
    visit(argument, {
      Variable: () => {
        found = true;
        return BREAK;
      },
    });
  }
  return found;
}

function setLater(data: ResponseObject, key: string, value: PromiseLike<unknown>): PromiseLike<void> {
  return value.then(settled => {
    data[key] = settled;
  });
}

/**
 * @param parts of the operation
 * @param directiveVariables the variables of @skip and @include: selections are compiled for these values
 */
export function createSelectionCompiler(parts: OperationParts, directiveVariables: Readonly<Record<string, unknown>>): SelectionCompiler {
  const { schema, fragments, operation } = parts;
  let fieldCount = 0;

  /** The function that gives a field its arguments. They are coerced once in an execution, or once for all if they contain no variables. */
  function compileArguments(
    field: GraphQLField<unknown, unknown>,
    node: FieldNode,
  ): (run: ExecutionRun) => Readonly<Record<string, unknown>> {
    if (field.args.length === 0) return () => NO_ARGUMENTS;
    const number = fieldCount++;
    let constant: Readonly<Record<string, unknown>> | undefined;
    const isConstant = !usesVariables(node);
    return run => {
      const known = constant ?? run.fieldArguments[number];
      if (known !== undefined) return known;
      const values = getArgumentValues(field, node, run.variables);
      run.fieldArguments[number] = values;
      if (isConstant) constant = values;
      return values;
    };
  }

  function compileResolver(field: GraphQLField<unknown, unknown>, node: FieldNode): Resolve {
    const { resolve = defaultFieldResolver } = field;
    const argumentsOf = compileArguments(field, node);
    // A function that declares one parameter reads only its source.
    if (resolve.length === 1 && field.args.length === 0) {
      const resolveSource = resolve as (source: unknown) => unknown;
      return source => resolveSource(source);
    }
    // Only a function that does not declare `info` gets null.
    return (source, run, info) => resolve(source, argumentsOf(run), run.context, info as GraphQLResolveInfo);
  }

  function compileField(parent: GraphQLObjectType, key: string, nodes: readonly FieldNode[]): ExecuteField | null {
    const [node] = nodes;
    const field = node && definitionOf(schema, parent, node);
    if (node === undefined || field === undefined) return null;
    // Objects for `info` and the path cost as much as the rest of a small field, so they are made only where somebody reads them.
    const needsInfo = field.resolve?.length !== 1 || isAbstractType(getNamedType(field.type));
    const needsPath = needsInfo || !isLeafType(getNullableType(field.type));
    const isNullable = !isNonNullType(field.type);
    const resolve = compileResolver(field, node);
    const selections = new Map<GraphQLObjectType, Selection>();
    const complete = compileValue(
      {
        nodes,
        name: `${parent.name}.${field.name}`,
        selectionOf(type) {
          const known = selections.get(type);
          if (known !== undefined) return known;
          const selection = compile(type, collectSubfields(schema, fragments, directiveVariables, type, nodes));
          selections.set(type, selection);
          return selection;
        },
      },
      field.type,
    );
    const pathIn = (objectPath: Path | undefined): Path => ({ prev: objectPath, key, typename: parent.name });
    const infoFor = (path: Path, run: ExecutionRun): GraphQLResolveInfo => ({
      fieldName: field.name,
      fieldNodes: [...nodes],
      returnType: field.type,
      parentType: parent,
      path,
      schema,
      fragments,
      rootValue: run.rootValue,
      operation,
      variableValues: run.variables,
    });

    function fail(error: unknown, path: Path, run: ExecutionRun): null {
      const located = toFieldError(error, nodes, path);
      if (!isNullable) throw located;
      run.addError(located, path);
      return null;
    }

    // A function of its own: if the closures were below, each call would allocate what they capture.
    function awaitValue(pending: PromiseLike<unknown>, objectPath: Path | undefined, known: Path | undefined, run: ExecutionRun): unknown {
      const failed = (error: unknown) => fail(error, known ?? pathIn(objectPath), run);
      return pending.then(undefined, failed);
    }

    function completeLater(
      pending: PromiseLike<unknown>,
      path: Path | undefined,
      info: GraphQLResolveInfo | null,
      run: ExecutionRun,
    ): PromiseLike<unknown> {
      return pending.then(value => complete(value, path, info, run));
    }

    return (source, objectPath, run) => {
      const path = needsPath ? pathIn(objectPath) : undefined;
      const info = needsInfo && path !== undefined ? infoFor(path, run) : null;
      try {
        const value = resolve(source, run, info);
        const completed = isPromise(value) ? completeLater(value, path, info, run) : complete(value, path, info, run);
        return isPromise(completed) ? awaitValue(completed, objectPath, path, run) : completed;
      } catch (error) {
        return fail(error, path ?? pathIn(objectPath), run);
      }
    };
  }

  function compile(type: GraphQLObjectType, fields: ReadonlyMap<string, readonly FieldNode[]>): Selection {
    const compiled = [...fields].flatMap(([key, nodes]) => {
      const execute = compileField(type, key, nodes);
      return execute === null ? [] : [{ key, execute }];
    });
    const keyBytes = compiled.reduce((bytes, { key }) => bytes + key.length + PUNCTUATION_BYTES, PUNCTUATION_BYTES);
    return {
      execute(source, path, run) {
        const data: ResponseObject = {};
        let pending: PromiseLike<void>[] | null = null;
        run.dataSize += keyBytes;
        try {
          for (const { key, execute } of compiled) {
            const value = execute(source, path, run);
            data[key] = value;
            if (isPromise(value)) {
              pending ??= [];
              pending.push(setLater(data, key, value));
            }
          }
        } catch (error) {
          if (pending === null) throw error;
          return rejectAfter(pending, error);
        }
        return pending === null ? data : Promise.all(pending).then(() => data);
      },
    };
  }

  return { compile };
}
