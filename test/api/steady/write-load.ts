import { openAcknowledgedWebSocket } from '../../support/raw-websocket.ts';
import { runSql } from '../../support/sql.ts';

/** The outcome of one write. */
export interface WriteOutcome {
  /** The unique content of the message. */
  readonly content: string;
  /** `OK`, the error code, `refused` if the server refused the connection, or `none` if the connection ended without a response. */
  readonly code: string;
}

/** Clients that send their next write when the previous one has its response. */
export interface WriteLoad {
  readonly outcomes: readonly WriteOutcome[];
  /** Waits for `count` more writes with this code. */
  waitForMore(code: string, count: number): Promise<void>;
  /** Stops the writers. Resolves when each has finished its current write. */
  stop(): Promise<void>;
}

const APPEND = 'mutation Append($input: AppendMessageInput!) { appendMessage(input: $input) { message { id } } }';

/** The response to one write, or the reason why there is none. */
type WriteResult = WriteResponse | 'refused' | 'none';

interface WriteResponse {
  readonly data?: { readonly createSession?: { readonly session: { readonly id: string } } } | null;
  readonly errors?: readonly { readonly extensions: { readonly code: string } }[];
}

type Send = (variables: Record<string, unknown>) => Promise<WriteResult>;

function codeOf(result: WriteResult): string {
  return typeof result === 'string' ? result : (result.errors?.[0]?.extensions.code ?? 'OK');
}

function isConnectionRefused(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return ('code' in error && error.code === 'ECONNREFUSED') || isConnectionRefused(error.cause);
}

async function postTo(url: string, query: string, variables: Record<string, unknown>): Promise<WriteResult> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query, variables }),
    });
    return (await response.json()) as WriteResponse;
  } catch (error) {
    return isConnectionRefused(error) ? 'refused' : 'none';
  }
}

/** Opens a WebSocket and returns a function that sends one operation at a time over it. */
async function openSocketSender(url: string): Promise<Send> {
  const socket = await openAcknowledgedWebSocket(url.replace('http', 'ws'));
  const closed = socket.closed.then(() => null);
  let id = 0;
  return async variables => {
    id += 1;
    socket.send({ id: String(id), type: 'subscribe', payload: { query: APPEND, variables } });
    const message = await Promise.race([socket.next(), closed]);
    // The result precedes the `complete` message.
    if (message?.type === 'next') await Promise.race([socket.next(), closed]);
    if (message === null) return 'none';
    return message.type === 'error' ? { errors: message.payload as WriteResponse['errors'] } : (message.payload as WriteResponse);
  };
}

/**
 * Starts writers. Each writes to its own session.
 * @param url the URL of GraphQL over HTTP
 */
export async function startWriteLoad(url: string, writers: { readonly http: number; readonly ws: number }): Promise<WriteLoad> {
  const outcomes: WriteOutcome[] = [];
  const waiting = new Set<() => void>();
  let stopped = false;

  async function write(name: string, send: Send): Promise<void> {
    const created = await postTo(url, 'mutation { createSession(input: {}) { session { id } } }', {});
    if (typeof created === 'string') throw new Error('The session could not be created.');
    const sessionId = created.data?.createSession?.session.id;
    for (let number = 1; !stopped; number += 1) {
      const content = `${name}/${number}`;
      const code = codeOf(await send({ input: { sessionId, message: { role: 'USER', content } } }));
      outcomes.push({ content, code });
      for (const check of waiting) check();
      if (code === 'none' || code === 'refused') return;
    }
  }

  const overHttp: Send = variables => postTo(url, APPEND, variables);
  const sockets = await Promise.all(Array.from({ length: writers.ws }, () => openSocketSender(url)));
  const running = [
    ...Array.from({ length: writers.http }, (_, writer) => write(`http${writer}`, overHttp)),
    ...sockets.map((send, writer) => write(`ws${writer}`, send)),
  ];
  const allDone = Promise.all(running);
  allDone.catch(() => undefined);

  return {
    outcomes,
    waitForMore(code, count) {
      const countOutcomes = () => outcomes.reduce((sum, outcome) => sum + (outcome.code === code ? 1 : 0), 0);
      const goal = countOutcomes() + count;
      return new Promise(resolve => {
        const check = () => {
          if (countOutcomes() < goal) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
      });
    },
    async stop() {
      stopped = true;
      await allDone;
    },
  };
}

/** Returns the contents of all messages in the database. */
export async function storedContents(databaseUrl: string): Promise<Set<string>> {
  const rows = await runSql<{ content: string }>(databaseUrl, 'select content from aria_engine.chat_messages');
  return new Set(rows.map(({ content }) => content));
}

/** Returns the contents of the writes with this code. */
export function contentsOf(outcomes: readonly WriteOutcome[], code: string): string[] {
  return outcomes.filter(outcome => outcome.code === code).map(({ content }) => content);
}
