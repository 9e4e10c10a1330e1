import { type ExecutionArgs, type ExecutionResult, GraphQLError, getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { findVariableExcess } from '../limits/variable-bounds.ts';

/** QUERY_TOO_DEEP and QUERY_TOO_COMPLEX for variables, before they are coerced, which costs more than to send them. */
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
