import { type ExecutionArgs, type ExecutionResult, GraphQLError } from 'graphql';
import { DomainError } from '../../errors.ts';
import type { RateGate } from '../auth/rate-gate.ts';
import { type ExecutionOptions, executeOperation, type Operation } from './execution.ts';
import { measureCost } from './limits/query-cost.ts';
import { findVariableExcess } from './limits/variable-bounds.ts';
import { factsOf, type OperationFacts } from './operation-facts.ts';
import type { TransportContext } from './plugins/use-execution.ts';
import { subscribeOperation } from './subscription.ts';

/** `extensions.cost` of the response to a query or mutation. */
interface CostReport {
  readonly cost: number;
  /** The maximum cost of one request. */
  readonly limit: number;
}

/** What the runner needs. */
export interface OperationRunnerOptions {
  readonly execution: ExecutionOptions;
  /** The maximum cost of one request. */
  readonly maxCost: number;
  /** By default there are no rate limits. */
  readonly rates?: RateGate;
  /** Whether error messages about variables suggest no names from the schema. */
  readonly hideSuggestions: boolean;
}

/**
 * Runs operations of valid documents, the same for every transport. Before any resolver runs, an operation is counted against the caller's
 * rate limits, and its variables and its cost are checked: it is rejected with RATE_LIMIT_EXCEEDED, QUERY_TOO_DEEP, or QUERY_TOO_COMPLEX with
 * `details.cost` and `details.limit`. The `contextValue` of the arguments is a TransportContext.
 */
export interface OperationRunner {
  /**
   * Runs a query or mutation, and reports its outcome to the watch. Responses carry the cost in `extensions.cost`. Never throws or rejects.
   * @returns the result itself if nothing had to wait
   */
  run(args: ExecutionArgs): ExecutionResult | Promise<ExecutionResult>;
  /** Counts and checks a subscription. Returns the rejection, or null if it may start. */
  admit(args: ExecutionArgs): Promise<ExecutionResult | null>;
  /** Starts a subscription that has been admitted. Its results and its end are reported to the watch. */
  subscribe(args: ExecutionArgs): ReturnType<typeof subscribeOperation>;
  /** Admits and starts a subscription, and reports to the watch if it does not start. */
  start(args: ExecutionArgs): ReturnType<typeof subscribeOperation>;
}

/** Whether a subscription was rejected, or a query or mutation may run at this cost. */
type Verdict = { readonly rejection: ExecutionResult } | { readonly rejection: null; readonly report: CostReport };

function rejectionOf(error: DomainError, report?: CostReport): Verdict {
  const errors = [new GraphQLError(error.message, { originalError: error })];
  return { rejection: report === undefined ? { errors } : { errors, extensions: { cost: report } } };
}

function toOperation({ schema, document, rootValue, variableValues, operationName }: ExecutionArgs, hideSuggestions: boolean): Operation {
  return { schema, document, rootValue, variableValues, operationName, hideSuggestions };
}

/** Makes the runner. */
export function createOperationRunner({ execution, maxCost, rates, hideSuggestions }: OperationRunnerOptions): OperationRunner {
  function checkSize({ node, variableTypes }: OperationFacts, { schema, document, variableValues }: ExecutionArgs): Verdict {
    const variables = variableValues ?? {};
    const excess = findVariableExcess(variableTypes, variables);
    if (excess !== null) return rejectionOf(excess);
    const cost = measureCost(schema, document, node, variables);
    const report = { cost, limit: maxCost };
    if (cost <= maxCost) return { rejection: null, report };
    const message = `The query costs ${cost}; at most ${maxCost} is allowed. Ask for smaller pages or fewer fields.`;
    return rejectionOf(new DomainError('QUERY_TOO_COMPLEX', message, { cost, limit: maxCost }), report);
  }

  function check(facts: OperationFacts, args: ExecutionArgs): Verdict | Promise<Verdict> {
    const { origin } = args.contextValue as TransportContext;
    const judge = (limited: DomainError | null) => (limited === null ? checkSize(facts, args) : rejectionOf(limited));
    const limited = rates === undefined ? null : rates.take(origin, facts.charge);
    return limited instanceof Promise ? limited.then(judge) : judge(limited);
  }

  function execute(verdict: Verdict, args: ExecutionArgs): ExecutionResult | Promise<ExecutionResult> {
    const { origin } = args.contextValue as TransportContext;
    if (verdict.rejection !== null) return execution.errors.presentResult(verdict.rejection, { requestId: origin.requestId });
    const { report } = verdict;
    const withCost = (result: ExecutionResult) => ({ ...result, extensions: { ...result.extensions, cost: report } });
    const result = executeOperation(toOperation(args, hideSuggestions), origin, execution);
    return result instanceof Promise ? result.then(withCost) : withCost(result);
  }

  async function admit(args: ExecutionArgs): Promise<ExecutionResult | null> {
    const facts = factsOf(args.schema, args.document, args.operationName);
    if (facts === null) return null;
    const { watch, access } = (args.contextValue as TransportContext).origin;
    watch?.setOperation({ type: facts.node.operation, name: facts.name, viewer: access.viewer.name });
    return (await check(facts, args)).rejection;
  }

  function subscribe(args: ExecutionArgs): ReturnType<typeof subscribeOperation> {
    const { origin, ending } = args.contextValue as TransportContext;
    return subscribeOperation(toOperation(args, hideSuggestions), origin, execution, ending);
  }

  return {
    run(args) {
      const { origin } = args.contextValue as TransportContext;
      const facts = factsOf(args.schema, args.document, args.operationName);
      // Reports the unknown name as graphql-js does.
      if (facts === null) return executeOperation(toOperation(args, hideSuggestions), origin, execution);
      const { watch, access } = origin;
      watch?.setOperation({ type: facts.node.operation, name: facts.name, viewer: access.viewer.name });
      const report = (result: ExecutionResult) => {
        watch?.end(result.errors);
        return result;
      };
      const verdict = check(facts, args);
      const result = verdict instanceof Promise ? verdict.then(known => execute(known, args)) : execute(verdict, args);
      return result instanceof Promise ? result.then(report) : report(result);
    },
    admit,
    subscribe,
    async start(args) {
      const { watch } = (args.contextValue as TransportContext).origin;
      const outcome = (await admit(args)) ?? (await subscribe(args));
      if (!(Symbol.asyncIterator in outcome)) watch?.end(outcome.errors);
      return outcome;
    },
  };
}
