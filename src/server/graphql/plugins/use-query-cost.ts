import { type ExecutionArgs, type ExecutionResult, GraphQLError, getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { DomainError } from '../../../errors.ts';
import { measureCost } from '../limits/query-cost.ts';

/** What the answer to a query or a mutation says of its cost, in `extensions.cost`. */
interface CostReport {
  readonly cost: number;
  /** What one request may cost. */
  readonly limit: number;
  /** What this one could have cost more; never negative. */
  readonly remaining: number;
}

/**
 * QUERY_TOO_COMPLEX with `details.cost` and `details.limit`, before any resolver runs. What is run, and what is refused here, carries its
 * cost in `extensions.cost`; the events of a subscription do not, as all cost the same.
 */
export function useQueryCost({ maxCost }: { maxCost: number }): Plugin {
  function reportOf({ schema, document, operationName, variableValues }: ExecutionArgs): CostReport | null {
    const operation = getOperationAST(document, operationName);
    if (!operation) return null;
    const cost = measureCost(schema, document, operation, variableValues ?? {});
    return { cost, limit: maxCost, remaining: Math.max(0, maxCost - cost) };
  }

  function withReport(result: ExecutionResult, cost: CostReport): ExecutionResult {
    return { ...result, extensions: { ...result.extensions, cost } };
  }

  function refusalOf(report: CostReport): ExecutionResult | null {
    if (report.cost <= maxCost) return null;
    const failure = new DomainError(
      'QUERY_TOO_COMPLEX',
      `The query costs ${report.cost}; at most ${maxCost} are allowed. Ask for smaller pages or less at once.`,
      { cost: report.cost, limit: maxCost },
    );
    return withReport({ errors: [new GraphQLError(failure.message, { originalError: failure })] }, report);
  }

  return {
    onExecute({ args, setResultAndStopExecution }) {
      const report = reportOf(args);
      if (report === null) return undefined;
      const refusal = refusalOf(report);
      if (refusal !== null) {
        setResultAndStopExecution(refusal);
        return undefined;
      }
      return {
        onExecuteDone({ result, setResult }) {
          if (!(Symbol.asyncIterator in result)) setResult(withReport(result, report));
        },
      };
    },
    onSubscribe({ args, setResultAndStopExecution }) {
      const report = reportOf(args);
      const refusal = report && refusalOf(report);
      if (refusal !== null) setResultAndStopExecution(refusal);
    },
  };
}
