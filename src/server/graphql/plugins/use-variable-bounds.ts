import { type ExecutionArgs, type ExecutionResult, GraphQLError, getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { findVariableExcess } from '../limits/variable-bounds.ts';

/** Rejects large variables with QUERY_TOO_DEEP or QUERY_TOO_COMPLEX before they are coerced, which is expensive. */
export function useVariableBounds(): Plugin {
  function check({ schema, document, operationName, variableValues }: ExecutionArgs, stop: (result: ExecutionResult) => void): void {
    const operation = getOperationAST(document, operationName);
    if (!operation || !variableValues) return;
    const failure = findVariableExcess(schema, operation, variableValues);
    if (failure !== null) stop({ errors: [new GraphQLError(failure.message, { originalError: failure })] });
  }
  return {
    onExecute: ({ args, setResultAndStopExecution }) => check(args, setResultAndStopExecution),
    onSubscribe: ({ args, setResultAndStopExecution }) => check(args, setResultAndStopExecution),
  };
}
