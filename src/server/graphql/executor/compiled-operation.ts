import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  type FragmentDefinitionNode,
  GraphQLError,
  type GraphQLObjectType,
  type GraphQLSchema,
  getOperationAST,
  getVariableValues,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  visit,
} from 'graphql';
import { collectFields } from 'graphql/execution/collectFields.js';
import { createSelectionCompiler, type Selection } from './compiled-selection.ts';
import { ExecutionRun, type FieldArguments, type OperationParts, toFieldError } from './execution-run.ts';

/** The result of an execution. */
export interface MeasuredResult {
  readonly result: ExecutionResult;
  /** The approximate size of the data as JSON, in bytes; null if it has not been measured. */
  readonly dataSize: number | null;
}

/** What depends only on the variables of an execution. */
interface PreparedVariables {
  /** Coerced. */
  readonly variables: Record<string, unknown>;
  readonly fieldArguments: FieldArguments;
  /** Null before the first execution. */
  selection: Selection | null;
}

/** Keeps what executions of one operation with the same variables share, such as those of a subscription. Start with null. */
export interface ReusedVariables {
  prepared: PreparedVariables | null;
}

/** What one execution of an operation depends on. */
export interface ExecutionValues extends Pick<ExecutionArgs, 'rootValue' | 'contextValue' | 'variableValues' | 'hideSuggestions'> {
  /** The same object in each execution with these variables; without it, nothing is kept. */
  readonly reused?: ReusedVariables;
}

/**
 * Executes an operation as `execute` of graphql-js does, with the same results and the same calls of resolvers. Never throws or rejects.
 * If all resolvers are synchronous, the result is.
 */
export type CompiledOperation = (values: ExecutionValues) => MeasuredResult | Promise<MeasuredResult>;

/** The most variants of an operation that are kept: one for each combination of values in its @skip and @include. */
const MAX_VARIANTS = 16;

/** The most errors about variables, as in graphql-js. */
const MAX_VARIABLE_ERRORS = 50;

/** The names of the variables in @skip and @include, anywhere in the document. */
function directiveVariablesOf(document: DocumentNode): readonly string[] {
  const names = new Set<string>();
  visit(document, {
    Directive: directive =>
      void visit(directive, {
        Variable: ({ name }) => void names.add(name.value),
      }),
  });
  return [...names];
}

/** Response names that an ordinary object cannot have as a key. */
function hasUnsafeName(document: DocumentNode): boolean {
  let isFound = false;
  visit(document, {
    Field: ({ alias, name }) => {
      if ((alias ?? name).value === '__proto__') isFound = true;
    },
  });
  return isFound;
}

function hasTypeChecks(schema: GraphQLSchema): boolean {
  return Object.values(schema.getTypeMap()).some(type => isObjectType(type) && type.isTypeOf != null);
}

/** By the name of the operation; the empty name stands for the only operation of a document. */
const compiled = new WeakMap<DocumentNode, Map<string, CompiledOperation | null>>();

/** As `compileOperation`, remembered as long as the document is. A document belongs to one schema. */
export function compiledOperationOf(
  schema: GraphQLSchema,
  document: DocumentNode,
  operationName?: string | null,
): CompiledOperation | null {
  const byName = compiled.get(document) ?? new Map<string, CompiledOperation | null>();
  const name = operationName ?? '';
  const known = byName.get(name);
  if (known !== undefined) return known;
  const operation = compileOperation(schema, document, operationName);
  byName.set(name, operation);
  compiled.set(document, byName);
  return operation;
}

/**
 * Compiles an operation: what graphql-js finds out anew for each field of each object is found out once.
 * @returns null for what it does not support, which graphql-js must execute: several mutation fields, which run one after another; a
 * response name `__proto__`; a schema with `isTypeOf`; and an operation name that the document does not have
 */
export function compileOperation(schema: GraphQLSchema, document: DocumentNode, operationName?: string | null): CompiledOperation | null {
  const operation = getOperationAST(document, operationName);
  const type = operation && schema.getRootType(operation.operation);
  if (!operation || !type || hasUnsafeName(document) || hasTypeChecks(schema)) return null;
  if (operation.operation === OperationTypeNode.MUTATION && !hasSingleField(operation)) return null;
  const fragments: Record<string, FragmentDefinitionNode> = Object.create(null);
  for (const node of document.definitions) if (node.kind === Kind.FRAGMENT_DEFINITION) fragments[node.name.value] = node;
  const parts: OperationParts = { schema, operation, fragments };
  const definitions = operation.variableDefinitions ?? [];
  const selectionFor = createVariants(parts, type, directiveVariablesOf(document));

  function prepare({ variableValues, hideSuggestions }: ExecutionValues): PreparedVariables | { readonly errors: readonly GraphQLError[] } {
    const options = { maxErrors: MAX_VARIABLE_ERRORS, hideSuggestions: hideSuggestions ?? false };
    const { errors, coerced } = getVariableValues(schema, definitions, variableValues ?? {}, options);
    return errors === undefined ? { variables: coerced, fieldArguments: [], selection: null } : { errors };
  }

  return values => {
    const { rootValue, contextValue, reused } = values;
    const prepared = reused?.prepared ?? prepare(values);
    if ('errors' in prepared) return { result: prepared, dataSize: 0 };
    if (reused !== undefined) reused.prepared = prepared;
    const run = new ExecutionRun(parts, rootValue, contextValue, prepared);
    const finish = (data: ExecutionResult['data']): MeasuredResult => ({
      result: run.errors.length === 0 ? { data } : { errors: run.errors, data },
      dataSize: run.dataSize,
    });
    const fail = (error: unknown): MeasuredResult => {
      run.addError(error instanceof GraphQLError ? error : toFieldError(error, [], undefined), undefined);
      return finish(null);
    };
    try {
      prepared.selection ??= selectionFor(prepared.variables);
      const data = prepared.selection.execute(rootValue, undefined, run);
      return data instanceof Promise ? data.then(finish, fail) : finish(data);
    } catch (error) {
      return fail(error);
    }
  };
}

function hasSingleField({ selectionSet: { selections } }: OperationDefinitionNode): boolean {
  return selections.length === 1 && selections[0]?.kind === Kind.FIELD;
}

/** Returns the function that gives the root selection for the variables of an execution. */
function createVariants(
  parts: OperationParts,
  type: GraphQLObjectType,
  directiveVariables: readonly string[],
): (variables: Readonly<Record<string, unknown>>) => Selection {
  const variants = new Map<string, Selection>();
  return variables => {
    const values = Object.fromEntries(Object.entries(variables).filter(([name]) => directiveVariables.includes(name)));
    const key = directiveVariables.length === 0 ? '' : JSON.stringify(values);
    const known = variants.get(key);
    if (known !== undefined) return known;
    const compiler = createSelectionCompiler(parts, values);
    const selection = compiler.compile(type, collectFields(parts.schema, parts.fragments, values, type, parts.operation.selectionSet));
    if (variants.size < MAX_VARIANTS) variants.set(key, selection);
    return selection;
  };
}
