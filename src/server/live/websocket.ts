import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ExecutionArgs, ExecutionResult, GraphQLError } from 'graphql';
import { CloseCode, type Context as ConnectionContext, handleProtocols, makeServer, type SubscribePayload } from 'graphql-ws';
import { type WebSocket, WebSocketServer } from 'ws';
import { EndableGenerator, wrapAsyncIterator } from '../../async-iterator.ts';
import { DomainError } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import { LOCAL_VIEWER } from '../../modules/viewer/viewer.rules.ts';
import { type Access, type Authenticator, DENIED_ACCESS } from '../auth/authenticate.ts';
import type { ErrorModel } from '../graphql/error-model.ts';
import type { OperationOrigin } from '../graphql/execution.ts';
import type { OperationPreparer } from '../graphql/operation-preparer.ts';
import type { OperationRunner } from '../graphql/operation-runner.ts';
import type { TransportContext } from '../graphql/plugins/use-execution.ts';
import { MAX_BODY_BYTES } from '../http/request-body.ts';
import type { LimitCounter } from '../observe/metrics.ts';
import type { WatchOperation } from '../observe/operation-watch.ts';
import { traceHeadersOf } from '../observe/trace-headers.ts';
import { formatError, toJson } from './event-result.ts';
import { yieldTurn } from './loop-turn.ts';
import { createSocketOutbox, type SocketOutbox } from './socket-outbox.ts';

/** Close code of RFC 6455: the server shuts down. */
const GOING_AWAY = 1001;

/** Registered close code: clients of graphql-ws reconnect. */
const TRY_AGAIN_LATER = 1013;

/** Maximum running operations of one connection. */
const MAX_OPERATIONS = 1_000;

/** Maximum open connections of one key or token. Without authentication there is no limit. */
const MAX_SOCKETS = 100;

/** What the WebSocket transport needs. */
export interface WebSocketOptions {
  readonly runner: OperationRunner;
  readonly errors: ErrorModel;
  readonly log: Logger;
  readonly watch: WatchOperation;
  readonly authenticator: Authenticator;
  readonly preparer: OperationPreparer;
  /** Counts what is rejected outside operations. */
  readonly limits?: LimitCounter;
  /** A connection that sends no `connection_init` within this time is closed with 4408. */
  readonly initTimeoutMs?: number;
  /** Interval of pings. A connection is cut if its client neither answers a ping nor reads waiting data before the next ping. */
  readonly pingMs?: number;
}

/** GraphQL over WebSocket, subprotocol graphql-transport-ws. */
export interface WebSocketTransport {
  /** Upgrades an HTTP connection to a WebSocket. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Closes every connection with 1001. Running queries and mutations get their results first; subscriptions are not awaited. */
  close(): Promise<void>;
  /** Cuts every connection. */
  terminate(): void;
}

interface Connection {
  readonly socket: WebSocket;
  readonly outbox: SocketOutbox;
  readonly operations: Map<string, RunningOperation>;
  /** The `Authorization` header of the handshake. */
  readonly authorization: string | null;
  /** The caller's access; denied until the connection is initialised. */
  access: Access;
  /** Removes the listener for the end of the access. */
  stopAccessListener: () => void;
}

interface RunningOperation {
  readonly isSubscription: boolean;
  /** Aborted when the operation or the connection ends. */
  readonly controller: AbortController;
}

type ProtocolContext = ConnectionContext<Record<string, unknown>, Connection>;

function authorizationOf(context: ProtocolContext): string | null {
  const { authorization, Authorization } = context.connectionParams ?? {};
  const given = authorization ?? Authorization;
  return typeof given === 'string' ? given : context.extra.authorization;
}

/** The context that `prepareOperation` created. */
function transportContextOf(args: ExecutionArgs): TransportContext {
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
  const takeNow = () => (results instanceof EndableGenerator ? results.takeNow() : null);
  return wrapAsyncIterator<ExecutionResult>(results, {
    async next() {
      for (;;) {
        let result = takeNow();
        if (result === null) {
          const next = await results.next();
          if (next.done === true) return { done: true, value: undefined };
          result = next.value;
        }
        const sent = outbox.send(`${head}${toJson(result)}}`);
        if (sent !== undefined) await sent;
        const turn = yieldTurn();
        if (turn !== undefined) await turn;
      }
    },
  });
}

/** Runs work as part of the operation's trace. */
function runTraced<Result>(args: ExecutionArgs, work: () => Result): Result {
  const { watch } = transportContextOf(args).origin;
  return watch === undefined ? work() : watch.run(work);
}

/** Connects graphql-ws to `ws`. Its own binding is not used because it prints client errors to the console. */
export function createWebSocketTransport({
  runner,
  errors,
  log,
  watch,
  preparer,
  limits,
  authenticator,
  initTimeoutMs = 3_000,
  pingMs = 12_000,
}: WebSocketOptions): WebSocketTransport {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_BODY_BYTES, handleProtocols, autoPong: false });
  const connections = new Set<Connection>();
  let isClosing = false;

  /** Subscriptions are neither awaited nor completed: close code 1001 makes clients reconnect and resubscribe. */
  function closeWhenAnswered({ socket, operations }: Connection): void {
    if (isClosing && [...operations.values()].every(operation => operation.isSubscription)) socket.close(GOING_AWAY, 'Going away');
  }

  function hasTooManyConnections({ viewer }: Access): boolean {
    if (viewer.id === LOCAL_VIEWER.id) return false;
    return [...connections].filter(({ access }) => access.viewer.id === viewer.id).length > MAX_SOCKETS;
  }

  /** Authenticates the caller. If that fails, closes the connection; the reason is the error's code. */
  async function authenticate(context: ProtocolContext): Promise<boolean> {
    const { extra } = context;
    try {
      extra.access = await authenticator.authenticate(authorizationOf(context));
    } catch (error) {
      const { code } = errors.present(error, {}).extensions;
      extra.socket.close(code === 'UNAUTHORIZED' ? CloseCode.Forbidden : TRY_AGAIN_LATER, String(code));
      return false;
    }
    if (hasTooManyConnections(extra.access)) {
      limits?.limitHit('sockets');
      extra.socket.close(TRY_AGAIN_LATER, 'RATE_LIMIT_EXCEEDED');
      return false;
    }
    if (extra.socket.readyState === extra.socket.OPEN) {
      extra.stopAccessListener = extra.access.onEnd(reason => extra.socket.close(CloseCode.Forbidden, reason.code));
    }
    return true;
  }

  /** Parses and validates an operation. */
  function prepareOperation(
    context: ProtocolContext,
    id: string,
    payload: SubscribePayload,
  ): ExecutionArgs | Promise<readonly GraphQLError[]> {
    const { operations } = context.extra;
    const controller = new AbortController();
    const requestId = randomUUID();
    const watched = watch({ requestId, transport: 'ws', headers: traceHeadersOf(payload.extensions ?? {}) });
    const { signal } = controller;
    const whenSent = (release: () => void) => {
      if (signal.aborted) release();
      else signal.addEventListener('abort', release, { once: true });
    };
    const origin: OperationOrigin = { requestId, signal, access: context.extra.access, watch: watched, whenSent };
    const contextValue: TransportContext = { origin };
    try {
      if (operations.size >= MAX_OPERATIONS) {
        throw new DomainError('QUERY_TOO_COMPLEX', `A connection may run at most ${MAX_OPERATIONS} operations at the same time.`, {
          limit: MAX_OPERATIONS,
          running: operations.size,
        });
      }
      const { args, operation } = preparer.prepare(contextValue, payload);
      operations.set(id, { isSubscription: operation.operation === 'subscription', controller });
      return args;
    } catch (error) {
      return preparer.reject(contextValue, error, payload.operationName);
    }
  }

  const protocol = makeServer<Record<string, unknown>, Connection>({
    connectionInitWaitTimeout: initTimeoutMs,
    onConnect: authenticate,
    onSubscribe: prepareOperation,
    execute: args => runTraced(args, () => runner.run(args)),
    subscribe: args => runTraced(args, () => runner.start(args)),
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
      // graphql-ws sends the message that completes the operation right after this hook.
      if (isClosing) setImmediate(closeWhenAnswered, extra);
    },
  });

  /** Starts to ping the client. Gives a function that reports other signs of life. */
  function keepAlive(socket: WebSocket): () => void {
    let isAlive = true;
    const markAlive = () => {
      isAlive = true;
    };
    socket.on('pong', markAlive);
    const timer = setInterval(() => {
      if (!isAlive) return socket.terminate();
      isAlive = false;
      socket.ping();
      return undefined;
    }, pingMs);
    socket.once('close', () => clearInterval(timer));
    return markAlive;
  }

  async function handleMessage({ socket }: Connection, message: string, onMessage: (text: string) => Promise<void>): Promise<void> {
    try {
      await onMessage(message);
    } catch (error) {
      // The client disconnected before it got its response.
      if (socket.readyState !== socket.OPEN) return;
      log.error({ err: error }, 'a WebSocket message failed unexpectedly');
      socket.close(CloseCode.InternalServerError, 'Internal server error');
    }
  }

  function serveConnection(socket: WebSocket, { headers, socket: connected }: IncomingMessage): void {
    const outbox = createSocketOutbox(socket, connected, keepAlive(socket));
    const connection: Connection = {
      socket,
      outbox,
      operations: new Map(),
      authorization: headers.authorization ?? null,
      access: DENIED_ACCESS,
      stopAccessListener: () => undefined,
    };
    connections.add(connection);
    socket.on('ping', data => outbox.pong(data));
    // Malformed frames and oversized messages. ws closes the connection with the matching code.
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
            // After the close frame no response can be sent, so no operation may start.
            if (socket.readyState === socket.OPEN) void handleMessage(connection, String(data), onMessage);
          });
        },
      },
      connection,
    );
    socket.once('close', (code, reason) => {
      connections.delete(connection);
      connection.stopAccessListener();
      for (const { controller } of connection.operations.values()) controller.abort();
      closed(code, String(reason)).catch((error: unknown) => log.error({ err: error }, 'the clean-up of a WebSocket connection failed'));
    });
  }

  return {
    upgrade: (request, socket, head) => sockets.handleUpgrade(request, socket, head, serveConnection),
    async close() {
      isClosing = true;
      const closed = [...connections].map(({ socket }) => once(socket, 'close'));
      for (const connection of connections) closeWhenAnswered(connection);
      await Promise.all(closed);
    },
    terminate() {
      for (const { socket } of connections) socket.terminate();
    },
  };
}
