import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type ExecutionArgs, type ExecutionResult, type GraphQLError, getOperationAST } from 'graphql';
import { CloseCode, type Context as ConnectionContext, handleProtocols, makeServer, type SubscribePayload } from 'graphql-ws';
import { type WebSocket, WebSocketServer } from 'ws';
import { wrapAsyncIterator } from '../../async-iterator.ts';
import { DomainError } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import { LOCAL_VIEWER } from '../../modules/viewer/viewer.rules.ts';
import { type Access, type Authenticator, NO_ACCESS } from '../auth/authenticate.ts';
import type { RateGate } from '../auth/rate-gate.ts';
import type { ErrorModel } from '../graphql/error-model.ts';
import type { OperationOrigin } from '../graphql/execution.ts';
import type { PersistedDocuments } from '../graphql/persisted-documents.ts';
import type { TransportContext } from '../graphql/plugins/use-execution.ts';
import type { GraphQLYoga } from '../graphql/yoga.ts';
import { MAX_BODY_BYTES } from '../http/request-body.ts';
import type { LimitCounter } from '../observe/metrics.ts';
import type { WatchOperation } from '../observe/operation-watch.ts';
import { traceHeadersOf } from '../observe/trace-headers.ts';
import { formatError, toJson } from './event-result.ts';
import { yieldTurn } from './loop-turn.ts';
import { createSocketOutbox, type SocketOutbox } from './socket-outbox.ts';

/** Of RFC 6455: the server goes away. */
const GOING_AWAY = 1001;

/** Of the registry of RFC 6455: clients of graphql-ws connect again. */
const TRY_AGAIN_LATER = 1013;

/** Operations one connection may have running at once. */
const MAX_OPERATIONS = 1_000;

/** Connections one key or token may have open at once; where authentication is off, as many as one likes. */
const MAX_SOCKETS = 100;

/** What the WebSocket side is made of. */
export interface WebSocketOptions {
  readonly yoga: GraphQLYoga;
  readonly errors: ErrorModel;
  readonly log: Logger;
  readonly watch: WatchOperation;
  readonly authenticator: Authenticator;
  readonly documents: PersistedDocuments;
  /** Left out, callers may do as much as they like. */
  readonly rates?: RateGate;
  /** Told of what is refused outside operations. */
  readonly limits?: LimitCounter;
  /** A connection without `connection_init` for so long is closed with 4408. */
  readonly initTimeoutMs?: number;
  /** Every so often each connection is pinged; one that by the next time has neither answered nor read what waited for it is cut. */
  readonly pingMs?: number;
}

/** GraphQL over WebSocket, subprotocol graphql-transport-ws. */
export interface WebSocketTransport {
  /** Takes over a connection that asks to become a WebSocket. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Closes every connection with 1001: subscriptions at once, queries and mutations under way first get their answer. */
  close(): Promise<void>;
  /** Cuts what is still connected. */
  terminate(): void;
}

interface Connection {
  readonly socket: WebSocket;
  readonly outbox: SocketOutbox;
  readonly operations: Map<string, RunningOperation>;
  /** The `Authorization` header of the handshake. */
  readonly authorization: string | null;
  /** Who was let in; nobody before the connection is initialised. */
  access: Access;
  /** Stops waiting for the end of the access. */
  release: () => void;
}

interface RunningOperation {
  readonly isSubscription: boolean;
  /** Aborted when the operation or the connection ends. */
  readonly controller: AbortController;
}

type Wire = ConnectionContext<Record<string, unknown>, Connection>;

function authorizationOf(context: Wire): string | null {
  const { authorization, Authorization } = context.connectionParams ?? {};
  const given = authorization ?? Authorization;
  return typeof given === 'string' ? given : context.extra.authorization;
}

/** What `onSubscribe` put there. */
function contextOf(args: ExecutionArgs): TransportContext {
  return args.contextValue as TransportContext;
}

/**
 * Sends the results of a subscription, each when the client has read most of the earlier ones. graphql-ws gets a stream without results,
 * which it ends and completes like any other: it would serialise every result again for every subscriber.
 */
function sendResults(
  results: AsyncIterator<ExecutionResult>,
  id: string,
  outbox: SocketOutbox,
): AsyncGenerator<ExecutionResult, undefined> {
  const head = `{"id":${JSON.stringify(id)},"type":"next","payload":`;
  return wrapAsyncIterator<ExecutionResult>(results, {
    async next() {
      for (let next = await results.next(); next.done !== true; next = await results.next()) {
        await outbox.send(`${head}${toJson(next.value)}}`);
        await yieldTurn();
      }
      return { done: true, value: undefined };
    },
  });
}

/** Runs what belongs to an operation. */
function within<Result>(args: ExecutionArgs, work: () => Result): Result {
  const { watch } = contextOf(args).origin;
  return watch === undefined ? work() : watch.within(work);
}

/** Binds graphql-ws to `ws`; its own binding writes to the console what clients do wrong. */
export function createWebSocketTransport({
  yoga,
  errors,
  log,
  watch,
  documents,
  rates,
  limits,
  authenticator,
  initTimeoutMs = 3_000,
  pingMs = 12_000,
}: WebSocketOptions): WebSocketTransport {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_BODY_BYTES, handleProtocols, autoPong: false });
  const connections = new Set<Connection>();
  let closing = false;

  /** A subscription is not waited for, nor completed: its client takes 1001 for a reason to connect and subscribe again. */
  function closeIfAnswered({ socket, operations }: Connection): void {
    if (closing && [...operations.values()].every(operation => operation.isSubscription)) socket.close(GOING_AWAY, 'Going away');
  }

  function hasTooMany({ viewer }: Access): boolean {
    if (viewer.id === LOCAL_VIEWER.id) return false;
    return [...connections].filter(({ access }) => access.viewer.id === viewer.id).length > MAX_SOCKETS;
  }

  /** Lets the caller in, or closes the connection with the failure's code for a reason. */
  async function admit(context: Wire): Promise<boolean> {
    const { extra } = context;
    try {
      extra.access = await authenticator.authenticate(authorizationOf(context));
    } catch (error) {
      const { code } = errors.present(error, {}).extensions;
      extra.socket.close(code === 'UNAUTHORIZED' ? CloseCode.Forbidden : TRY_AGAIN_LATER, String(code));
      return false;
    }
    if (hasTooMany(extra.access)) {
      limits?.limitHit('sockets');
      extra.socket.close(TRY_AGAIN_LATER, 'RATE_LIMIT_EXCEEDED');
      return false;
    }
    if (extra.socket.readyState === extra.socket.OPEN) {
      extra.release = extra.access.onEnd(reason => extra.socket.close(CloseCode.Forbidden, reason.code));
    }
    return true;
  }

  function prepare(context: Wire, id: string, payload: SubscribePayload): ExecutionArgs | Promise<GraphQLError[]> {
    const { operations } = context.extra;
    const controller = new AbortController();
    const requestId = randomUUID();
    const watched = watch({ requestId, transport: 'ws', headers: traceHeadersOf(payload.extensions ?? {}) });
    const { signal } = controller;
    const untilSent = (release: () => void) => {
      if (signal.aborted) release();
      else signal.addEventListener('abort', release, { once: true });
    };
    const origin: OperationOrigin = { requestId, signal, access: context.extra.access, watch: watched, untilSent };
    const refuse = async (...faults: readonly unknown[]): Promise<GraphQLError[]> => {
      const excess = (await rates?.takeFault(origin)) ?? null;
      const refusals = (excess === null ? faults : [excess]).map(fault =>
        errors.present(fault, { requestId, operation: payload.operationName ?? undefined }),
      );
      watched.ends(refusals);
      return refusals;
    };
    try {
      if (operations.size >= MAX_OPERATIONS) {
        throw new DomainError('QUERY_TOO_COMPLEX', 'This connection has too many operations running.', {
          limit: MAX_OPERATIONS,
          running: operations.size,
        });
      }
      const contextValue: TransportContext = { origin };
      const { schema, parse, validate } = yoga.getEnveloped(contextValue);
      const text = documents.textFor(payload) ?? payload.query;
      const excess = rates?.checkBeforeParsing(origin, text) ?? null;
      if (excess !== null) return refuse(excess);
      const document = parse(text);
      const faults: readonly GraphQLError[] = validate(schema, document);
      if (faults.length > 0) return refuse(...faults);
      const operation = getOperationAST(document, payload.operationName);
      if (!operation) throw new DomainError('BAD_USER_INPUT', 'Could not determine what operation to execute.', { field: 'operationName' });
      operations.set(id, { isSubscription: operation.operation === 'subscription', controller });
      return { schema, document, contextValue, variableValues: payload.variables ?? undefined, operationName: payload.operationName };
    } catch (error) {
      return refuse(error);
    }
  }

  const protocol = makeServer<Record<string, unknown>, Connection>({
    connectionInitWaitTimeout: initTimeoutMs,
    onConnect: admit,
    onSubscribe: prepare,
    execute: args => within(args, () => yoga.getEnveloped(contextOf(args)).execute(args)),
    subscribe: args => within(args, () => yoga.getEnveloped(contextOf(args)).subscribe(args)),
    async onOperation({ extra }, id, _payload, _args, outcome) {
      const result = await outcome;
      return Symbol.asyncIterator in result ? sendResults(result[Symbol.asyncIterator](), id, extra.outbox) : undefined;
    },
    onError: (_context, _id, _payload, failures) => failures.map(failure => formatError(errors.present(failure, {}))),
    onNext: (_context, _id, _payload, _args, result) =>
      result.errors === undefined ? undefined : { ...result, errors: result.errors.map(error => formatError(errors.present(error, {}))) },
    onComplete: ({ extra }, id) => {
      extra.operations.get(id)?.controller.abort();
      extra.operations.delete(id);
      // The message that completes it is sent right after this.
      if (closing) setImmediate(closeIfAnswered, extra);
    },
  });

  /** Pings, and gives the function that is told of other signs of life. */
  function keepAlive(socket: WebSocket): () => void {
    let isAlive = true;
    const livesOn = () => {
      isAlive = true;
    };
    socket.on('pong', livesOn);
    const timer = setInterval(() => {
      if (!isAlive) return socket.terminate();
      isAlive = false;
      socket.ping();
      return undefined;
    }, pingMs);
    socket.once('close', () => clearInterval(timer));
    return livesOn;
  }

  async function handle({ socket }: Connection, message: string, onMessage: (text: string) => Promise<void>): Promise<void> {
    try {
      await onMessage(message);
    } catch (error) {
      // An answer that finds the client gone is nobody's fault.
      if (socket.readyState !== socket.OPEN) return;
      log.error({ err: error }, 'a WebSocket message could not be handled');
      socket.close(CloseCode.InternalServerError, 'Internal server error');
    }
  }

  function serve(socket: WebSocket, { headers, socket: connected }: IncomingMessage): void {
    const outbox = createSocketOutbox(socket, connected, keepAlive(socket));
    const connection: Connection = {
      socket,
      outbox,
      operations: new Map(),
      authorization: headers.authorization ?? null,
      access: NO_ACCESS,
      release: () => undefined,
    };
    connections.add(connection);
    socket.on('ping', data => outbox.pong(data));
    // Broken frames and messages too large; ws closes the connection with the code that says which.
    socket.on('error', error => {
      if ('code' in error && error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') limits?.limitHit('socket_message_size');
      log.debug({ err: error }, 'a WebSocket connection failed');
    });
    const closed = protocol.opened(
      {
        protocol: socket.protocol,
        send: text => outbox.send(text),
        close: (code, reason) => socket.close(code, reason),
        onMessage: onMessage => {
          socket.on('message', data => {
            // Once the goodbye is sent nothing can be answered any more, so nothing may be done.
            if (socket.readyState === socket.OPEN) void handle(connection, String(data), onMessage);
          });
        },
      },
      connection,
    );
    socket.once('close', (code, reason) => {
      connections.delete(connection);
      connection.release();
      for (const { controller } of connection.operations.values()) controller.abort();
      closed(code, String(reason)).catch((error: unknown) => log.error({ err: error }, 'a WebSocket connection could not be tidied up'));
    });
  }

  return {
    upgrade: (request, socket, head) => sockets.handleUpgrade(request, socket, head, serve),
    async close() {
      closing = true;
      const gone = [...connections].map(({ socket }) => once(socket, 'close'));
      for (const connection of connections) closeIfAnswered(connection);
      await Promise.all(gone);
    },
    terminate() {
      for (const { socket } of connections) socket.terminate();
    },
  };
}
