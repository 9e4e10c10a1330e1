import { GraphQLError } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { ErrorModel } from '../error-model.ts';
import { explainValidationErrors } from '../literal-errors.ts';
import type { TransportContext } from './use-execution.ts';

/**
 * Gives the errors of requests that are not executed their public form (error-model.ts). Results of executions and of subscription events
 * have it already.
 */
export function useErrorModel(errors: ErrorModel): Plugin<TransportContext, TransportContext> {
  return {
    onValidate({ params: { schema, documentAST } }) {
      return ({ valid, result, setResult }) => {
        if (valid) return;
        const errorsFound = [...result].filter(error => error instanceof GraphQLError);
        setResult(explainValidationErrors(schema, documentAST, errorsFound));
      };
    },
    onResultProcess({ result, setResult, serverContext }) {
      if (Array.isArray(result) || Symbol.asyncIterator in result) return;
      setResult(errors.presentResult(result, { requestId: serverContext.origin.requestId }));
    },
  };
}
