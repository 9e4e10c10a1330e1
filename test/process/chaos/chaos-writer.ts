import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { RandomSource } from '../../../scripts/seed/random-source.ts';
import { post } from '../../support/http-client.ts';
import { TEST_WAIT_MS } from '../../support/wait-time.ts';
import type { ChaosServers } from './chaos-servers.ts';

/** What was acknowledged to writers. */
export interface Acknowledged {
  readonly createdSessions: string[];
  readonly removedSessions: string[];
  readonly addedMessages: string[];
  readonly deletedMessages: string[];
  /** Of each update of metadata, its session. */
  readonly updatedSessions: string[];
}

/** Nothing yet. */
export function nothingAcknowledged(): Acknowledged {
  return { createdSessions: [], removedSessions: [], addedMessages: [], deletedMessages: [], updatedSessions: [] };
}

/** Where writers write. */
export interface WriterWorld {
  readonly servers: ChaosServers;
  /** Sessions all of them write to. */
  readonly common: readonly [string, ...string[]];
  readonly agents: readonly [string, ...string[]];
  readonly acknowledged: Acknowledged;
}

interface OwnSession {
  readonly id: string;
  readonly messages: string[];
  parentId: string | null;
  state: 'open' | 'ended' | 'trashed';
  /** What it comes back to from the trash. */
  before: 'open' | 'ended';
}

type Payload = Readonly<Record<string, unknown>>;

const PAUSE_MS = 50;
/** How long a write is tried; servers and databases are away for shorter. */
const KEEP_TRYING_MS = 2 * TEST_WAIT_MS;

/**
 * Sends a mutation until a server has answered it, with the idempotency key it must have unless a second time does no harm.
 * @param harmless the code of the answer to a second time, where there is no key
 * @returns the payload; null where an earlier try has done it unheard
 * @throws Error for any refusal that is not to be tried again
 */
async function mutate(
  servers: ChaosServers,
  random: RandomSource,
  { field, selection, input, harmless }: { field: string; selection: string; input: Payload; harmless?: string },
): Promise<Payload | null> {
  const type = `${field.charAt(0).toUpperCase()}${field.slice(1)}Input`;
  const text = `mutation ($input: ${type}!) { ${field}(input: $input) { ${selection} } }`;
  const variables = { input: harmless === undefined ? { ...input, idempotencyKey: randomUUID() } : input };
  const deadline = performance.now() + KEEP_TRYING_MS;
  for (let attempt = 1; ; attempt += 1) {
    const { data, errors } = await post(servers.pick(random), { query: text, variables }).then(
      ({ body }) => body,
      // The connection broke: whether it was done, nobody knows.
      () => ({ data: null, errors: undefined }),
    );
    const payload = data?.[field];
    if (payload !== undefined && payload !== null) return payload as Payload;
    const [error] = errors ?? [];
    if (attempt > 1 && error !== undefined && error.extensions.code === harmless) return null;
    const isOver = performance.now() > deadline;
    if (isOver || (error !== undefined && !error.extensions.retryable)) {
      throw new Error(`${field}, attempt ${attempt}: ${JSON.stringify(error ?? 'no answer')} to ${JSON.stringify(variables)}`);
    }
    await delay(random.integer(0, 2 * PAUSE_MS));
  }
}

/** Creates a session. @returns its UUID */
export async function createSession(
  { servers, acknowledged }: Pick<WriterWorld, 'servers' | 'acknowledged'>,
  random: RandomSource,
  input: Payload,
): Promise<string> {
  const payload = await mutate(servers, random, { field: 'createSession', selection: 'session { sessionId }', input });
  const session = payload?.session as { readonly sessionId: string } | undefined;
  if (session === undefined) throw new Error('A session that was created is not in the answer.');
  acknowledged.createdSessions.push(session.sessionId);
  return session.sessionId;
}

/** A client that does everything there is to do, at random: to sessions of its own, and to those all write to. */
export class ChaosWriter {
  readonly #world: WriterWorld;
  readonly #random: RandomSource;
  readonly #own: OwnSession[] = [];
  /** Messages of its own in common sessions, with these. */
  readonly #commonMessages: { readonly id: string; readonly sessionId: string }[] = [];
  #number = 0;

  constructor(world: WriterWorld, random: RandomSource) {
    this.#world = world;
    this.#random = random;
  }

  /** Makes one write. */
  async write(): Promise<void> {
    const random = this.#random;
    const what = random.weighted([
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
    switch (what) {
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
          id: random.pick(this.#world.common),
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
    return mutate(this.#world.servers, this.#random, { field, selection, input });
  }

  #pick(which: (session: OwnSession) => boolean): OwnSession | undefined {
    const fitting = this.#own.filter(which);
    return fitting[this.#random.integer(0, Math.max(0, fitting.length - 1))];
  }

  /** A session to write to: often a common one, so that writers meet. */
  #target(): { readonly id: string; readonly own: OwnSession | undefined } {
    const own = this.#random.chance(0.5) ? this.#pick(({ state }) => state === 'open') : undefined;
    return { id: own?.id ?? this.#random.pick(this.#world.common), own };
  }

  async #create(): Promise<void> {
    const random = this.#random;
    const parent = this.#pick(({ state }) => state !== 'trashed')?.id;
    const parentId = random.chance(0.6) ? (random.chance(0.5) ? parent : random.pick(this.#world.common)) : undefined;
    this.#number += 1;
    const id = await createSession(this.#world, random, {
      agentId: random.pick(this.#world.agents),
      title: `session ${this.#number}`,
      ...(parentId === undefined ? {} : { parentId }),
    });
    this.#own.push({ id, messages: [], parentId: parentId ?? null, state: 'open', before: 'open' });
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
      this.#world.acknowledged.addedMessages.push(messageId);
      if (own === undefined) this.#commonMessages.push({ id: messageId, sessionId: id });
      else own.messages.push(messageId);
    }
  }

  async #updateMetadata(): Promise<void> {
    const { id } = this.#target();
    this.#world.acknowledged.updatedSessions.push(id);
    // Never the same twice: what changes nothing is no event.
    await this.#send('updateSession', 'session { version }', { id, metadata: { [`k${this.#random.integer(0, 9)}`]: randomUUID() } });
  }

  /** A parent is always older than its child, so that there is no circle. */
  async #link(): Promise<void> {
    const child = this.#pick(({ state, parentId }) => state !== 'trashed' && parentId === null);
    if (child === undefined) return this.#create();
    const older = this.#own.slice(0, this.#own.indexOf(child)).filter(({ state }) => state !== 'trashed');
    const parentId = older[this.#random.integer(0, 2 * older.length)]?.id ?? this.#random.pick(this.#world.common);
    child.parentId = parentId;
    await this.#send('updateSession', 'session { version }', { id: child.id, parentId });
  }

  async #trash(): Promise<void> {
    const session = this.#pick(({ state }) => state !== 'trashed');
    if (session === undefined) return this.#create();
    session.before = session.state === 'ended' ? 'ended' : 'open';
    session.state = 'trashed';
    await mutate(this.#world.servers, this.#random, {
      field: 'deleteSession',
      selection: 'deletedId',
      input: { id: session.id },
      harmless: 'SESSION_NOT_FOUND',
    });
  }

  async #restore(): Promise<void> {
    const session = this.#pick(({ state }) => state === 'trashed');
    if (session === undefined) return this.#trash();
    await mutate(this.#world.servers, this.#random, {
      field: 'restoreSession',
      selection: 'session { version }',
      input: { id: session.id },
      harmless: '',
    });
    session.state = session.before;
  }

  async #remove(): Promise<void> {
    const session = this.#pick(() => true);
    if (session === undefined) return this.#create();
    this.#own.splice(this.#own.indexOf(session), 1);
    // Its children are roots from then on; that a session gets a second parent is left to other tests.
    await mutate(this.#world.servers, this.#random, {
      field: 'deleteSession',
      selection: 'deletedId',
      input: { id: session.id, permanent: true },
      harmless: 'SESSION_NOT_FOUND',
    });
    this.#world.acknowledged.removedSessions.push(session.id);
  }

  async #deleteMessage(): Promise<void> {
    const own = this.#pick(({ state, messages }) => state !== 'trashed' && messages.length > 0);
    const message =
      own !== undefined && this.#random.chance(0.5)
        ? { id: String(own.messages.pop()), sessionId: own.id }
        : this.#commonMessages.splice(this.#random.integer(0, Math.max(0, this.#commonMessages.length - 1)), 1)[0];
    if (message === undefined) return this.#append(2);
    await mutate(this.#world.servers, this.#random, {
      field: 'deleteMessage',
      selection: 'deletedId',
      input: message,
      harmless: 'MESSAGE_NOT_FOUND',
    });
    this.#world.acknowledged.deletedMessages.push(message.id);
  }
}
