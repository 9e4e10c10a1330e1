import { openAcknowledgedWebSocket } from '../../support/raw-websocket.ts';
import { runSql } from '../../support/sql.ts';

/** How one write ended for its client. */
export interface WriteOutcome {
  /** Unique. */
  readonly content: string;
  /** `OK`, the error's code, `refused` where no connection was to be had, or `none` where the connection ended without an answer. */
  readonly code: string;
}

/** Clients that write as fast as they are answered. */
export interface WriteLoad {
  readonly outcomes: readonly WriteOutcome[];
  /** Resolves when so many writes more have ended so from now on. */
  more(code: string, count: number): Promise<void>;
  /** Resolves when each writer has ended the write it is at. */
  stop(): Promise<void>;
}

const APPEND = 'mutation Append($input: AppendMessageInput!) { appendMessage(input: $input) { message { id } } }';

/** What became of one write for its client. */
type Reply = Answer | 'refused' | 'none';

interface Answer {
  readonly data?: { readonly createSession?: { readonly session: { readonly id: string } } } | null;
  readonly errors?: readonly { readonly extensions: { readonly code: string } }[];
}

type Send = (variables: Record<string, unknown>) => Promise<Reply>;

function codeOf(reply: Reply): string {
  return typeof reply === 'string' ? reply : (reply.errors?.[0]?.extensions.code ?? 'OK');
}

function isRefusal(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return ('code' in error && error.code === 'ECONNREFUSED') || isRefusal(error.cause);
}

async function postTo(url: string, query: string, variables: Record<string, unknown>): Promise<Reply> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query, variables }),
    });
    return (await response.json()) as Answer;
  } catch (error) {
    return isRefusal(error) ? 'refused' : 'none';
  }
}

/** Sends over one socket of its own, one operation at a time. */
async function socketTo(url: string): Promise<Send> {
  const socket = await openAcknowledgedWebSocket(url.replace('http', 'ws'));
  const closed = socket.closed.then(() => null);
  let id = 0;
  return async variables => {
    id += 1;
    socket.send({ id: String(id), type: 'subscribe', payload: { query: APPEND, variables } });
    const message = await Promise.race([socket.next(), closed]);
    // What it was answered with comes before the message that completes it.
    if (message?.type === 'next') await Promise.race([socket.next(), closed]);
    if (message === null) return 'none';
    return message.type === 'error' ? { errors: message.payload as Answer['errors'] } : (message.payload as Answer);
  };
}

/**
 * Starts writers, each on a session of its own.
 * @param url of GraphQL over HTTP
 */
export async function startWriteLoad(url: string, writers: { readonly http: number; readonly ws: number }): Promise<WriteLoad> {
  const outcomes: WriteOutcome[] = [];
  const waiting = new Set<() => void>();
  let stopped = false;

  async function write(name: string, send: Send): Promise<void> {
    const created = await postTo(url, 'mutation { createSession(input: {}) { session { id } } }', {});
    if (typeof created === 'string') throw new Error('no session could be created');
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
  const sockets = await Promise.all(Array.from({ length: writers.ws }, () => socketTo(url)));
  const running = [
    ...Array.from({ length: writers.http }, (_, writer) => write(`http${writer}`, overHttp)),
    ...sockets.map((send, writer) => write(`ws${writer}`, send)),
  ];
  const allDone = Promise.all(running);
  allDone.catch(() => undefined);

  return {
    outcomes,
    more(code, count) {
      const ended = () => outcomes.reduce((sum, outcome) => sum + (outcome.code === code ? 1 : 0), 0);
      const goal = ended() + count;
      return new Promise(resolve => {
        const check = () => {
          if (ended() < goal) return;
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

/** The contents of all messages in the store. */
export async function storedContents(databaseUrl: string): Promise<Set<string>> {
  const rows = await runSql<{ content: string }>(databaseUrl, 'select content from aria_engine.chat_messages');
  return new Set(rows.map(({ content }) => content));
}

/** Contents of writes that ended so. */
export function contentsOf(outcomes: readonly WriteOutcome[], code: string): string[] {
  return outcomes.filter(outcome => outcome.code === code).map(({ content }) => content);
}
