import { type DocumentNode, getOperationAST, Kind, visit } from 'graphql';
import type { Viewer } from '../../modules/viewer/viewer.rules.ts';
import type { Operation } from '../graphql/execution.ts';
import type { EventOutcome } from '../observe/operation-span.ts';

/** Executes a subscription once per event for all subscribers with the same operation and the same permissions. */
export interface SharedExecution {
  /**
   * The result for an event. If another subscriber with the same key started an execution for this event less than 100 ms ago, this is its
   * result; otherwise `execute` runs. Events are compared by identity: live subscribers get the same object, but a subscriber that catches
   * up reads its own copy from the log and does not share.
   * @param key from `shareKeyOf`; null never shares
   * @param left aborts when the subscriber leaves
   */
  resultFor(event: unknown, key: string | null, left: AbortSignal, execute: Execute): EventOutcome;
}

/** @param isWanted call it once before executing; if it is false, all subscribers have left and the result is ignored */
type Execute = (isWanted: () => boolean) => EventOutcome;

interface SharedResult {
  readonly result: EventOutcome;
  /** Abort when the subscribers that share the result leave. */
  readonly subscribers: AbortSignal[];
}

/** The results for one event, by share key. Most events have one result, and a Map costs more than the rest of this. */
class EventResults {
  readonly startedAt: number;
  #firstKey: string | null = null;
  #first: SharedResult | null = null;
  #others: Map<string, SharedResult> | null = null;

  constructor(startedAt: number) {
    this.startedAt = startedAt;
  }

  get(key: string): SharedResult | undefined {
    return this.#first !== null && this.#firstKey === key ? this.#first : this.#others?.get(key);
  }

  /** Adds a result whose key has none. */
  add(key: string, result: SharedResult): void {
    if (this.#first === null) {
      this.#firstKey = key;
      this.#first = result;
    } else {
      this.#others ??= new Map();
      this.#others.set(key, result);
    }
  }

  delete(key: string): void {
    if (this.#firstKey === key) this.#first = null;
    else this.#others?.delete(key);
  }
}

/** Results contain the session and message as of delivery, so subscribers never get results older than this. */
const MAX_AGE_MS = 100;

/** When twice as many events have results, all but this many of the newest are dropped. */
const MAX_EVENTS = 256;

/** @param now a monotonic clock in milliseconds */
export function createSharedExecution(now: () => number = () => performance.now()): SharedExecution {
  /** Results of recent events, oldest first. */
  const recent = new Map<object, EventResults>();
  let cleanUpTimer: NodeJS.Timeout | null = null;

  function dropOldResults(): void {
    for (const [event, { startedAt }] of recent) {
      if (recent.size <= MAX_EVENTS && now() - startedAt <= MAX_AGE_MS) break;
      recent.delete(event);
    }
    if (recent.size > 0 || cleanUpTimer === null) return;
    clearInterval(cleanUpTimer);
    cleanUpTimer = null;
  }

  function resultsOf(event: object): EventResults {
    const known = recent.get(event);
    const time = now();
    if (known !== undefined && time - known.startedAt <= MAX_AGE_MS) return known;
    const started = new EventResults(time);
    // Deleted first: setting a key that exists would not move it to the end of the map.
    if (known !== undefined) recent.delete(event);
    recent.set(event, started);
    if (recent.size >= 2 * MAX_EVENTS) dropOldResults();
    cleanUpTimer ??= setInterval(dropOldResults, MAX_AGE_MS).unref();
    return started;
  }

  return {
    resultFor(event, key, left, execute) {
      if (key === null || typeof event !== 'object' || event === null) return execute(() => !left.aborted);
      const results = resultsOf(event);
      const known = results.get(key);
      if (known !== undefined) {
        known.subscribers.push(left);
        return known.result;
      }
      const subscribers = [left];
      const result = execute(() => {
        const isWanted = subscribers.some(({ aborted }) => !aborted);
        // A subscriber that comes later must not get the ignored result.
        if (!isWanted) results.delete(key);
        return isWanted;
      });
      results.add(key, { result, subscribers });
      return result;
    },
  };
}

/** What the share key needs to know of an operation. Documents are cached, so this is computed once per operation. */
interface OperationIdentity {
  readonly number: number;
  /** Names of the variables on which results depend, sorted. */
  readonly resultVariables: readonly string[];
}

const identities = new WeakMap<DocumentNode, Map<string, OperationIdentity | null>>();
let lastNumber = 0;

/**
 * Names of the variables on which results depend. Variables used only in arguments of the root field do not count: these arguments select
 * the events, and the root field's resolver returns the event unchanged.
 */
function findResultVariables(document: DocumentNode, operationName: string | undefined): string[] | null {
  const operation = getOperationAST(document, operationName);
  if (!operation) return null;
  const found = new Set<string>();
  const rootFields = new Set<unknown>(operation.selectionSet.selections);
  visit(document, {
    VariableDefinition: () => false,
    Argument: (_node, _key, _parent, _path, ancestors) => {
      const owner = ancestors.at(-1);
      const isOfRootField = owner !== undefined && 'kind' in owner && owner.kind === Kind.FIELD && rootFields.has(owner);
      // `false` skips the argument.
      return isOfRootField ? false : undefined;
    },
    Variable: node => void found.add(node.name.value),
  });
  return [...found].sort();
}

function identityOf(document: DocumentNode, operationName: string | null | undefined): OperationIdentity | null {
  const byName = identities.get(document) ?? new Map<string, OperationIdentity | null>();
  identities.set(document, byName);
  const name = operationName ?? '';
  const known = byName.get(name);
  if (known !== undefined) return known;
  const resultVariables = findResultVariables(document, operationName ?? undefined);
  lastNumber += 1;
  const identity = resultVariables === null ? null : { number: lastNumber, resultVariables };
  byName.set(name, identity);
  return identity;
}

/**
 * A key that is equal for two subscribers only if they get equal results for the same event. It contains everything the result depends on:
 * the document, the operation, the variables, and what the viewer may see (scopes and agents; no field reachable from a subscription returns
 * the viewer). Null if the operation cannot be shared.
 */
export function shareKeyOf({ document, operationName, variableValues }: Operation, { scopes, agentIds }: Viewer): string | null {
  const identity = identityOf(document, operationName);
  if (identity === null) return null;
  const values = identity.resultVariables.filter(name => variableValues?.[name] !== undefined).map(name => [name, variableValues?.[name]]);
  let isExact = true;
  const key = JSON.stringify(
    [identity.number, values, [...scopes].sort(), agentIds === null ? null : [...agentIds].sort()],
    (_name, value: unknown) => {
      // JSON writes NaN and Infinity as null, so different values would have the same key.
      if (typeof value === 'number' && !Number.isFinite(value)) isExact = false;
      return value;
    },
  );
  return isExact ? key : null;
}
