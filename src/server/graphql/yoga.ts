import type { DocumentNode, GraphQLSchema } from 'graphql';
import { createYoga, type YogaServerInstance } from 'graphql-yoga';
import type { Config } from '../../config.ts';
import type { RateGate } from '../auth/rate-gate.ts';
import { createCors } from '../http/cors.ts';
import type { OriginCheck } from '../http/origin-check.ts';
import type { EventStreamTimeouts } from '../live/event-stream.ts';
import { createDocumentCache, type DocumentCache } from './document-cache.ts';
import type { ErrorModel } from './error-model.ts';
import type { OperationRunner } from './operation-runner.ts';
import type { PersistedDocuments } from './persisted-documents.ts';
import { useAuthentication } from './plugins/use-authentication.ts';
import { useErrorModel } from './plugins/use-error-model.ts';
import { useEventStream } from './plugins/use-event-stream.ts';
import { type TransportContext, useExecution } from './plugins/use-execution.ts';
import { useOperationWatch } from './plugins/use-operation-watch.ts';
import { usePersistedDocuments } from './plugins/use-persisted-documents.ts';
import { useQueryShape } from './plugins/use-query-shape.ts';
import { useFaultLimit, useRateLimit } from './plugins/use-rate-limit.ts';
import { useStreamLimit } from './plugins/use-stream-limit.ts';
import { useStreamOnlyAsEvents } from './plugins/use-stream-only-as-events.ts';
import { useTokenLimit } from './plugins/use-token-limit.ts';
import { useValidation } from './plugins/use-validation.ts';

/** GraphQL over HTTP and SSE. The WebSocket transport uses the same plugins through `getEnveloped`. */
export type GraphQLYoga = YogaServerInstance<TransportContext, object>;

/** What Yoga needs. */
export interface YogaOptions {
  readonly schema: GraphQLSchema;
  readonly limits: Config['limits'];
  readonly errors: ErrorModel;
  readonly runner: OperationRunner;
  readonly originCheck: OriginCheck;
  readonly documents: PersistedDocuments;
  /** By default there are no rate limits. */
  readonly rates?: RateGate;
  /** Caches parsed documents. */
  readonly parsed: DocumentCache<DocumentNode>;
  readonly eventStreams?: EventStreamTimeouts;
  /** Whether clients may query the schema, and whether error messages suggest names from it. */
  readonly introspection: boolean;
}

/** The path of GraphQL over every transport, and of GraphiQL. */
export const GRAPHQL_PATH = '/graphql';

/** Configures Yoga with its plugins. The first plugin is the outermost. */
export function createGraphQLYoga({
  schema,
  limits,
  errors,
  runner,
  originCheck,
  documents,
  introspection,
  rates,
  parsed,
  eventStreams,
}: YogaOptions): GraphQLYoga {
  return createYoga<TransportContext, object>({
    schema,
    graphqlEndpoint: GRAPHQL_PATH,
    logging: false,
    // src/server/http handles health, GraphiQL, body sizes and content types. The error model masks errors.
    graphiql: false,
    landingPage: false,
    multipart: false,
    maxRequestBodySize: false,
    maskedErrors: false,
    cors: createCors(originCheck),
    parserAndValidationCache: {
      documentCache: parsed,
      errorCache: createDocumentCache<Error>(100),
      validationCache: true,
    },
    plugins: [
      ...(rates === undefined ? [] : [useFaultLimit(rates)]),
      useOperationWatch(),
      useErrorModel(errors),
      useTokenLimit(),
      usePersistedDocuments(documents),
      useValidation({ introspection }),
      useQueryShape({ maxDepth: limits.maxQueryDepth }),
      ...(rates === undefined ? [] : [useRateLimit(rates)]),
      useExecution(runner),
      useStreamOnlyAsEvents(),
      useStreamLimit(),
      useEventStream(eventStreams),
      useAuthentication(errors),
    ],
  });
}
