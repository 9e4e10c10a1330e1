import { GraphQLError } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { ErrorModel } from '../error-model.ts';
import { explainValidationErrors } from '../literal-errors.ts';
import type { TransportContext } from './use-execution.ts';

/**
 * Gives every error its public form (src/server/error-model.ts), also those of requests that never came to be executed.
 * Results of executions, and every event of a stream, have theirs already.
 */
export function useErrorModel(errors: ErrorModel): Plugin<TransportContext, TransportContext> {
  return {
    onValidate({ params: { schema, documentAST } }) {
      return ({ valid, result, setResult }) => {
        if (valid) return;
        const faults = [...result].filter(error => error instanceof GraphQLError);
        setResult(explainValidationErrors(schema, documentAST, faults));
      };
    },
    onResultProcess({ result, setResult, serverContext }) {
      if (Array.isArray(result) || Symbol.asyncIterator in result) return;
      setResult(errors.presentResult(result, { requestId: serverContext.origin.requestId }));
    },
  };
}
