import { type DocumentNode, type ExecutionResult, getOperationAST, Kind, visit } from 'graphql';
import type { Viewer } from '../../modules/viewer/viewer.rules.ts';
import type { Operation } from '../graphql/execution.ts';

/** Answers of subscriptions to one event, executed once for all who asked the same with the same rights. */
export interface SharedExecution {
  /**
   * The result for this event, from another subscriber's execution where one with the same key has begun just now, else from `execute`.
   * Results are shared among those who get the very same object for a source event: the live ones, not who reads the log later.
   * @param key of `shareKeyOf`; null is not shared
   * @param left aborted where the subscriber no longer wants it
   */
  resultFor(event: unknown, key: string | null, left: AbortSignal, execute: Execute): Promise<ExecutionResult>;
}

/** @param isWanted to be asked once, before it begins: where nobody wants the result any more it may be anything, and nobody gets it */
type Execute = (isWanted: () => boolean) => Promise<ExecutionResult>;

interface SharedResult {
  readonly result: Promise<ExecutionResult>;
  readonly subscribers: AbortSignal[];
}

interface Shared {
  readonly begun: number;
  readonly results: Map<string, SharedResult>;
}

/** `session` and `message` are as of delivery: nobody is given what is older, in milliseconds. */
const MAX_AGE_MS = 100;

/** Most events whose results are held; the oldest go first. */
const MAX_EVENTS = 256;

/** @param now in milliseconds, of a clock that only goes forward */
export function createSharedExecution(now: () => number = () => performance.now()): SharedExecution {
  /** In the order they were begun. */
  const held = new Map<object, Shared>();
  let sweep: NodeJS.Timeout | null = null;

  function dropOld(): void {
    for (const [event, { begun }] of held) {
      if (held.size <= MAX_EVENTS && now() - begun <= MAX_AGE_MS) break;
      held.delete(event);
    }
    if (held.size > 0 || sweep === null) return;
    clearInterval(sweep);
    sweep = null;
  }

  function sharedOf(event: object): Shared {
    const known = held.get(event);
    if (known !== undefined && now() - known.begun <= MAX_AGE_MS) return known;
    const shared: Shared = { begun: now(), results: new Map() };
    held.delete(event);
    held.set(event, shared);
    if (held.size > MAX_EVENTS) dropOld();
    sweep ??= setInterval(dropOld, MAX_AGE_MS).unref();
    return shared;
  }

  return {
    resultFor(event, key, left, execute) {
      if (key === null || typeof event !== 'object' || event === null) return execute(() => !left.aborted);
      const { results } = sharedOf(event);
      const known = results.get(key);
      if (known !== undefined) {
        known.subscribers.push(left);
        return known.result;
      }
      const subscribers = [left];
      const result = execute(() => {
        const isWanted = subscribers.some(({ aborted }) => !aborted);
        if (!isWanted) results.delete(key);
        return isWanted;
      });
      results.set(key, { result, subscribers });
      return result;
    },
  };
}

interface SharedOperation {
  readonly number: number;
  /** The variables on which the answer to an event depends. */
  readonly variables: readonly string[];
}

const operations = new WeakMap<DocumentNode, Map<string, SharedOperation | null>>();
let lastNumber = 0;

/** All variables but those of which only the arguments of root fields are made: they choose the events, and the root field gives the event as it is. */
function answerVariables(document: DocumentNode, operationName: string | undefined): string[] | null {
  const operation = getOperationAST(document, operationName);
  if (!operation) return null;
  const found = new Set<string>();
  const roots = new Set<unknown>(operation.selectionSet.selections);
  visit(document, {
    VariableDefinition: () => false,
    Argument: (_node, _key, _parent, _path, ancestors) => {
      const owner = ancestors.at(-1);
      return owner !== undefined && 'kind' in owner && owner.kind === Kind.FIELD && roots.has(owner) ? false : undefined;
    },
    Variable: node => void found.add(node.name.value),
  });
  return [...found].sort();
}

function sharedOperation(document: DocumentNode, operationName: string | null | undefined): SharedOperation | null {
  const named = operations.get(document) ?? new Map<string, SharedOperation | null>();
  operations.set(document, named);
  const name = operationName ?? '';
  const known = named.get(name);
  if (known !== undefined) return known;
  const variables = answerVariables(document, operationName ?? undefined);
  lastNumber += 1;
  const operation = variables === null ? null : { number: lastNumber, variables };
  named.set(name, operation);
  return operation;
}

/** JSON has no words for these: they would look like null. */
function isLost(value: unknown): boolean {
  return typeof value === 'number' && !Number.isFinite(value);
}

/**
 * Names everything on which the answer of a subscription to an event depends: document, operation, variables, and what the viewer may see
 * (scopes and agents; nothing within a subscription tells who the viewer is). Holds where the resolver of a subscription's root field gives
 * its event whatever the arguments. Null where that cannot be told.
 */
export function shareKeyOf({ document, operationName, variableValues }: Operation, { scopes, agentIds }: Viewer): string | null {
  const operation = sharedOperation(document, operationName);
  if (operation === null) return null;
  let isExact = true;
  const values = operation.variables.filter(name => variableValues?.[name] !== undefined).map(name => [name, variableValues?.[name]]);
  const key = JSON.stringify(
    [operation.number, values, [...scopes].sort(), agentIds === null ? null : [...agentIds].sort()],
    (_name, value: unknown) => {
      if (isLost(value)) isExact = false;
      return value;
    },
  );
  return isExact ? key : null;
}
