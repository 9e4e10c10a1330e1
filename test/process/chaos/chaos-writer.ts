import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { RandomSource } from '../../../scripts/seed/random-source.ts';
import { post } from '../../support/http-client.ts';
import { TEST_WAIT_MS } from '../../support/wait-time.ts';
import type { ChaosServers } from './chaos-servers.ts';

/** The writes that the servers acknowledged, as ids of sessions and messages. */
export interface Acknowledged {
  readonly createdSessions: string[];
  readonly removedSessions: string[];
  readonly addedMessages: string[];
  readonly deletedMessages: string[];
  /** The session of each metadata update. */
  readonly updatedSessions: string[];
}

/** Returns empty lists. */
export function createAcknowledged(): Acknowledged {
  return { createdSessions: [], removedSessions: [], addedMessages: [], deletedMessages: [], updatedSessions: [] };
}

/** What all writers of a run share. */
export interface WriterSetup {
  readonly servers: ChaosServers;
  /** Sessions that all writers write to. */
  readonly common: readonly [string, ...string[]];
  readonly agents: readonly [string, ...string[]];
  readonly acknowledged: Acknowledged;
}

/** A session that only one writer writes to. */
interface OwnSession {
  readonly id: string;
  readonly messages: string[];
  parentId: string | null;
  state: 'open' | 'ended' | 'trashed';
  /** The state to which a restore brings it back. */
  stateBeforeTrash: 'open' | 'ended';
}

type Payload = Readonly<Record<string, unknown>>;

const PAUSE_MS = 50;
/** How long a write is retried; longer than any outage of a server or database. */
const RETRY_FOR_MS = 2 * TEST_WAIT_MS;

/**
 * Sends a mutation and retries it until a server responds. It has an idempotency key, unless `repeatedCode` is given.
 * @param repeatedCode for mutations without an idempotency key: the error code of a mutation that an earlier attempt completed
 * @returns the payload; null if an earlier attempt completed the mutation and its response was lost
 * @throws Error for an error that is not retryable
 */
async function mutate(
  servers: ChaosServers,
  random: RandomSource,
  { field, selection, input, repeatedCode }: { field: string; selection: string; input: Payload; repeatedCode?: string },
): Promise<Payload | null> {
  const type = `${field.charAt(0).toUpperCase()}${field.slice(1)}Input`;
  const text = `mutation ($input: ${type}!) { ${field}(input: $input) { ${selection} } }`;
  const variables = { input: repeatedCode === undefined ? { ...input, idempotencyKey: randomUUID() } : input };
  const deadline = performance.now() + RETRY_FOR_MS;
  for (let attempt = 1; ; attempt += 1) {
    const { data, errors } = await post(servers.pick(random), { query: text, variables }).then(
      ({ body }) => body,
      // The connection broke, so the outcome is unknown.
      () => ({ data: null, errors: undefined }),
    );
    const payload = data?.[field];
    if (payload !== undefined && payload !== null) return payload as Payload;
    const [error] = errors ?? [];
    if (attempt > 1 && error !== undefined && error.extensions.code === repeatedCode) return null;
    const isTooLate = performance.now() > deadline;
    if (isTooLate || (error !== undefined && !error.extensions.retryable)) {
      throw new Error(`${field}, attempt ${attempt}: ${JSON.stringify(error ?? 'no response')} for ${JSON.stringify(variables)}`);
    }
    await delay(random.integer(0, 2 * PAUSE_MS));
  }
}

/** Creates a session. @returns its UUID */
export async function createSession(
  { servers, acknowledged }: Pick<WriterSetup, 'servers' | 'acknowledged'>,
  random: RandomSource,
  input: Payload,
): Promise<string> {
  const payload = await mutate(servers, random, { field: 'createSession', selection: 'session { sessionId }', input });
  const session = payload?.session as { readonly sessionId: string } | undefined;
  if (session === undefined) throw new Error('The response to createSession has no session.');
  acknowledged.createdSessions.push(session.sessionId);
  return session.sessionId;
}

/** A client that sends every kind of mutation at random, to its own sessions and to the common ones. */
export class ChaosWriter {
  readonly #setup: WriterSetup;
  readonly #random: RandomSource;
  readonly #ownSessions: OwnSession[] = [];
  /** Messages that it appended to common sessions. */
  readonly #commonMessages: { readonly id: string; readonly sessionId: string }[] = [];
  #createdCount = 0;

  constructor(setup: WriterSetup, random: RandomSource) {
    this.#setup = setup;
    this.#random = random;
  }

  /** Sends one random mutation. */
  async write(): Promise<void> {
    const random = this.#random;
    const action = random.weighted([
      ['create', 8],
      ['append', 34],
      ['appendMany', 8],
      ['metadata', 16],
      ['status', 10],
      ['link', 4],
      ['end', 4],
      ['trash', 4],
      ['restore', 4],
      ['remove', 2],
      ['deleteMessage', 6],
    ]);
    const open = this.#pick(({ state }) => state === 'open');
    switch (action) {
      case 'create':
        return this.#create();
      case 'append':
        return this.#append(1);
      case 'appendMany':
        return this.#append(random.chance(0.3) ? 100 : random.integer(2, 30));
      case 'metadata':
        return this.#updateMetadata();
      case 'status':
        return void (await this.#send('updateSession', 'session { version }', {
          id: random.pick(this.#setup.common),
          status: random.pick(['ACTIVE', 'WORKING']),
        }));
      case 'link':
        return this.#link();
      case 'end':
        if (open === undefined) return this.#create();
        open.state = 'ended';
        return void (await this.#send('endSession', 'session { version }', { id: open.id, status: random.pick(['COMPLETED', 'ENDED']) }));
      case 'trash':
        return this.#trash();
      case 'restore':
        return this.#restore();
      case 'remove':
        return this.#remove();
      case 'deleteMessage':
        return this.#deleteMessage();
    }
  }

  #send(field: string, selection: string, input: Payload): Promise<Payload | null> {
    return mutate(this.#setup.servers, this.#random, { field, selection, input });
  }

  #pick(condition: (session: OwnSession) => boolean): OwnSession | undefined {
    const candidates = this.#ownSessions.filter(condition);
    return candidates[this.#random.integer(0, Math.max(0, candidates.length - 1))];
  }

  /** Picks a session to write to. Half of the time it is a common one, to make writers collide. */
  #target(): { readonly id: string; readonly own: OwnSession | undefined } {
    const own = this.#random.chance(0.5) ? this.#pick(({ state }) => state === 'open') : undefined;
    return { id: own?.id ?? this.#random.pick(this.#setup.common), own };
  }

  async #create(): Promise<void> {
    const random = this.#random;
    const parent = this.#pick(({ state }) => state !== 'trashed')?.id;
    const parentId = random.chance(0.6) ? (random.chance(0.5) ? parent : random.pick(this.#setup.common)) : undefined;
    this.#createdCount += 1;
    const id = await createSession(this.#setup, random, {
      agentId: random.pick(this.#setup.agents),
      title: `session ${this.#createdCount}`,
      ...(parentId === undefined ? {} : { parentId }),
    });
    this.#ownSessions.push({ id, messages: [], parentId: parentId ?? null, state: 'open', stateBeforeTrash: 'open' });
  }

  async #append(count: number): Promise<void> {
    const { id, own } = this.#target();
    const messages = Array.from({ length: count }, (_, index) => ({
      role: 'USER',
      content: `${index} ${'x'.repeat(this.#random.integer(0, count === 1 ? 2_000 : 400))}`,
    }));
    const payload =
      count === 1
        ? await this.#send('appendMessage', 'message { messageId }', { sessionId: id, message: messages[0] })
        : await this.#send('appendMessages', 'messages { messageId }', { sessionId: id, messages });
    const added = (payload?.messages ?? [payload?.message]) as readonly { readonly messageId: string }[];
    for (const { messageId } of added) {
      this.#setup.acknowledged.addedMessages.push(messageId);
      if (own === undefined) this.#commonMessages.push({ id: messageId, sessionId: id });
      else own.messages.push(messageId);
    }
  }

  async #updateMetadata(): Promise<void> {
    const { id } = this.#target();
    this.#setup.acknowledged.updatedSessions.push(id);
    // The value is always new, because an update without a change writes no event.
    await this.#send('updateSession', 'session { version }', { id, metadata: { [`k${this.#random.integer(0, 9)}`]: randomUUID() } });
  }

  /** Gives a session a parent. The parent is always older than the child, which rules out cycles. */
  async #link(): Promise<void> {
    const child = this.#pick(({ state, parentId }) => state !== 'trashed' && parentId === null);
    if (child === undefined) return this.#create();
    const older = this.#ownSessions.slice(0, this.#ownSessions.indexOf(child)).filter(({ state }) => state !== 'trashed');
    const parentId = older[this.#random.integer(0, 2 * older.length)]?.id ?? this.#random.pick(this.#setup.common);
    child.parentId = parentId;
    await this.#send('updateSession', 'session { version }', { id: child.id, parentId });
  }

  async #trash(): Promise<void> {
    const session = this.#pick(({ state }) => state !== 'trashed');
    if (session === undefined) return this.#create();
    session.stateBeforeTrash = session.state === 'ended' ? 'ended' : 'open';
    session.state = 'trashed';
    await mutate(this.#setup.servers, this.#random, {
      field: 'deleteSession',
      selection: 'deletedId',
      input: { id: session.id },
      repeatedCode: 'SESSION_NOT_FOUND',
    });
  }

  async #restore(): Promise<void> {
    const session = this.#pick(({ state }) => state === 'trashed');
    if (session === undefined) return this.#trash();
    await mutate(this.#setup.servers, this.#random, {
      field: 'restoreSession',
      selection: 'session { version }',
      input: { id: session.id },
      // A repeated restore succeeds.
      repeatedCode: '',
    });
    session.state = session.stateBeforeTrash;
  }

  async #remove(): Promise<void> {
    const session = this.#pick(() => true);
    if (session === undefined) return this.#create();
    this.#ownSessions.splice(this.#ownSessions.indexOf(session), 1);
    // Its children become roots. This writer never gives them another parent; other tests check that.
    await mutate(this.#setup.servers, this.#random, {
      field: 'deleteSession',
      selection: 'deletedId',
      input: { id: session.id, permanent: true },
      repeatedCode: 'SESSION_NOT_FOUND',
    });
    this.#setup.acknowledged.removedSessions.push(session.id);
  }

  async #deleteMessage(): Promise<void> {
    const own = this.#pick(({ state, messages }) => state !== 'trashed' && messages.length > 0);
    const message =
      own !== undefined && this.#random.chance(0.5)
        ? { id: String(own.messages.pop()), sessionId: own.id }
        : this.#commonMessages.splice(this.#random.integer(0, Math.max(0, this.#commonMessages.length - 1)), 1)[0];
    if (message === undefined) return this.#append(2);
    await mutate(this.#setup.servers, this.#random, {
      field: 'deleteMessage',
      selection: 'deletedId',
      input: message,
      repeatedCode: 'MESSAGE_NOT_FOUND',
    });
    this.#setup.acknowledged.deletedMessages.push(message.id);
  }
}
