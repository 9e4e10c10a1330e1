import { type ExecutionArgs, type ExecutionResult, GraphQLError, getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { DomainError } from '../../../errors.ts';
import { measureCost } from '../limits/query-cost.ts';

/** `extensions.cost` of the response to a query or mutation. */
interface CostReport {
  readonly cost: number;
  /** The maximum cost of one request. */
  readonly limit: number;
  /** The limit minus the cost; never negative. */
  readonly remaining: number;
}

/**
 * Rejects operations that cost too much with QUERY_TOO_COMPLEX, with `details.cost` and `details.limit`, before any resolver runs. Responses
 * carry the cost in `extensions.cost`. Events of a subscription do not, because all of them cost the same.
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

  function rejectionOf(report: CostReport): ExecutionResult | null {
    if (report.cost <= maxCost) return null;
    const failure = new DomainError(
      'QUERY_TOO_COMPLEX',
      `The query costs ${report.cost}; at most ${maxCost} is allowed. Ask for smaller pages or fewer fields.`,
      { cost: report.cost, limit: maxCost },
    );
    return withReport({ errors: [new GraphQLError(failure.message, { originalError: failure })] }, report);
  }

  return {
    onExecute({ args, setResultAndStopExecution }) {
      const report = reportOf(args);
      if (report === null) return undefined;
      const rejection = rejectionOf(report);
      if (rejection !== null) {
        setResultAndStopExecution(rejection);
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
      const rejection = report && rejectionOf(report);
      if (rejection !== null) setResultAndStopExecution(rejection);
    },
  };
}
