import { type DocumentNode, type ExecutionArgs, GraphQLError, type GraphQLSchema, type OperationDefinitionNode } from 'graphql';
import type { RateGate } from '../auth/rate-gate.ts';
import { createDocumentCache } from './document-cache.ts';
import type { ErrorModel } from './error-model.ts';
import { factsOf } from './operation-facts.ts';
import type { PersistedDocuments } from './persisted-documents.ts';
import type { TransportContext } from './plugins/use-execution.ts';
import type { GraphQLYoga } from './yoga.ts';

/** The parameters of an operation, the same over HTTP and WebSocket. */
export interface OperationParameters {
  readonly query: string;
  readonly variables?: Readonly<Record<string, unknown>> | null;
  readonly operationName?: string | null;
  readonly extensions?: unknown;
}

/** An operation of a valid document. */
export interface PreparedOperation {
  readonly args: ExecutionArgs;
  readonly operation: OperationDefinitionNode;
}

export interface OperationPreparerOptions {
  readonly yoga: GraphQLYoga;
  readonly schema: GraphQLSchema;
  readonly documents: PersistedDocuments;
  /** By default there are no rate limits. */
  readonly rates?: RateGate;
  readonly errors: ErrorModel;
}

/** Parses and validates operations without Yoga's HTTP layer, with the same plugins and caches. */
export interface OperationPreparer {
  /**
   * The operation that the parameters name.
   * @throws GraphQLError or DomainError if the document cannot be parsed, is not trusted, or has no such operation, or if the caller's faulty
   * requests have used up its limit; Rejections if the document is invalid
   */
  prepare(context: TransportContext, parameters: OperationParameters): PreparedOperation;
  /** The public errors of a request that does not run. Counts it as a faulty request. @param error what `prepare` threw, or another reason */
  reject(context: TransportContext, error: unknown, operationName?: string | null): Promise<readonly GraphQLError[]>;
}

/** The errors of an invalid document. */
class Rejections extends Error {
  readonly errors: readonly unknown[];

  constructor(errors: readonly unknown[]) {
    super('The request was rejected.');
    this.errors = errors;
  }
}

/** The error of graphql-js for an operation name that the document does not have. Yoga answers it with 400, whatever the media type. */
function unknownOperation(): GraphQLError {
  return new GraphQLError('Could not determine what operation to execute.', {
    extensions: { code: 'OPERATION_RESOLUTION_FAILURE', http: { status: 400 } },
  });
}

/** Returns the preparer that plain JSON requests and WebSockets share. */
export function createOperationPreparer({ yoga, schema, documents, rates, errors }: OperationPreparerOptions): OperationPreparer {
  /** Documents that may run: a known text needs no plugin any more. */
  const valid = createDocumentCache<DocumentNode>();

  function readDocument(context: TransportContext, text: string): DocumentNode {
    const { parse, validate } = yoga.getEnveloped(context);
    const document: DocumentNode = parse(text);
    const problems: readonly GraphQLError[] = validate(schema, document);
    if (problems.length > 0) throw new Rejections(problems);
    valid.set(text, document);
    return document;
  }

  return {
    prepare(context, parameters) {
      const text = documents.textFor(parameters) ?? parameters.query;
      const rejection = rates?.checkBeforeParsing(context.origin, text) ?? null;
      if (rejection !== null) throw rejection;
      const document = valid.get(text) ?? readDocument(context, text);
      const { operationName, variables } = parameters;
      const facts = factsOf(schema, document, operationName);
      if (facts === null) throw unknownOperation();
      return {
        args: { schema, document, contextValue: context, variableValues: variables ?? undefined, operationName },
        operation: facts.node,
      };
    },
    async reject({ origin }, error, operationName) {
      const rejection = (await rates?.takeFault(origin)) ?? null;
      const problems = error instanceof Rejections ? error.errors : [error];
      const rejections = (rejection === null ? problems : [rejection]).map(problem =>
        errors.present(problem, { requestId: origin.requestId, operation: operationName ?? undefined }),
      );
      origin.watch?.end(rejections);
      return rejections;
    },
  };
}
