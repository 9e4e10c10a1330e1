import { createRandomSource, type RandomSource } from '../../../scripts/seed/random-source.ts';
import type { TestApp } from '../../support/app.ts';

/** Titles and contents. Some contain `needle`, which the search filters look for. */
const TEXTS = ['alpha', 'beta', 'needle', 'a needle in the hay', 'gamma', 'delta'] as const;
const AGENTS = ['main', 'coder'] as const;
const TAGS = ['red', 'green', 'blue'] as const;
const PRIORITIES = ['LOW', 'NORMAL', 'HIGH', 'CRITICAL'] as const;

/** Errors that random mutations may return. */
const EXPECTED_ERRORS = new Set([
  'SESSION_NOT_FOUND',
  'MESSAGE_NOT_FOUND',
  'SESSION_ENDED',
  'INVALID_STATUS_TRANSITION',
  'BAD_USER_INPUT',
  'LABEL_TAKEN',
  'KEY_TAKEN',
]);

interface KnownSession {
  readonly id: string;
  readonly messages: string[];
}

/** Writers that share the ids of the sessions they created. */
export interface RandomMutations {
  /** The sessions that still exist, in the order of their creation. */
  readonly sessions: readonly KnownSession[];
  /** Runs `count` mutations, distributed over the writers. Some of them fail. @throws Error for an error that random input does not explain */
  run(count: number): Promise<void>;
}

/** Creates writers with one random source each. @param seed the same seed gives each writer the same choices */
export function randomMutations(app: TestApp, { seed, writers }: { readonly seed: number; readonly writers: number }): RandomMutations {
  const sessions: KnownSession[] = [];
  const sources = Array.from({ length: writers }, (_, index) => createRandomSource(seed, index + 1));

  async function send(field: string, payload: string, input: object): Promise<Readonly<Record<string, unknown>> | null> {
    const type = `${field.charAt(0).toUpperCase()}${field.slice(1)}Input`;
    const { data, errors } = await app.gql<Record<string, Readonly<Record<string, unknown>>>>(
      `mutation ($input: ${type}!) { ${field}(input: $input) { ${payload} } }`,
      { input },
    );
    const [error] = errors ?? [];
    if (error !== undefined && !EXPECTED_ERRORS.has(String(error.extensions.code))) throw new Error(`${field}: ${JSON.stringify(error)}`);
    return data?.[field] ?? null;
  }

  async function create(random: RandomSource): Promise<void> {
    const parent = random.chance(0.4) ? pickParent(random) : undefined;
    const created = await send('createSession', 'session { sessionId }', {
      agentId: random.pick(AGENTS),
      title: random.pick(TEXTS),
      status: random.pick(['ACTIVE', 'WORKING', 'SPAWNING']),
      priority: random.pick(PRIORITIES),
      tags: TAGS.filter(() => random.chance(0.4)),
      metadata: { team: random.pick(['a', 'b']) },
      ...(parent === undefined ? {} : { parentId: parent.id }),
    });
    const session = created?.session;
    if (typeof session === 'object' && session !== null && 'sessionId' in session)
      sessions.push({ id: String(session.sessionId), messages: [] });
  }

  function pickSession(random: RandomSource): KnownSession | undefined {
    return sessions[random.integer(0, Math.max(0, sessions.length - 1))];
  }

  /** Often returns the first session, so that the list of its children changes. */
  function pickParent(random: RandomSource): KnownSession | undefined {
    return random.chance(0.5) ? sessions[0] : pickSession(random);
  }

  async function append(random: RandomSource, session: KnownSession): Promise<void> {
    const tokens = random.integer(0, 50);
    const appended = await send('appendMessage', 'message { messageId }', {
      sessionId: session.id,
      message: { role: 'USER', content: random.pick(TEXTS), usage: { inputTokens: tokens } },
    });
    const message = appended?.message;
    if (typeof message === 'object' && message !== null && 'messageId' in message) session.messages.push(String(message.messageId));
  }

  async function update(random: RandomSource, { id }: KnownSession): Promise<void> {
    const other = pickParent(random);
    const change = random.pick<object>([
      { title: random.pick(TEXTS) },
      { title: null },
      { displayName: random.pick(TEXTS) },
      { label: random.pick(['one', 'two', 'three']) },
      { label: null },
      { priority: random.pick(PRIORITIES) },
      { tags: TAGS.filter(() => random.chance(0.5)) },
      { metadata: { team: random.pick(['a', 'b']) } },
      { pinned: random.chance(0.5) },
      { archived: random.chance(0.5) },
      { status: random.pick(['ACTIVE', 'WORKING', 'COMPLETED', 'ENDED']) },
      { task: random.pick(TEXTS), category: random.pick(TEXTS) },
      { parentId: other?.id ?? id },
    ]);
    await send('updateSession', 'session { version }', { id, ...change });
  }

  async function step(random: RandomSource): Promise<void> {
    const session = pickSession(random);
    if (session === undefined || sessions.length < 5) return create(random);
    const { id, messages } = session;
    // The first session is never deleted, because a list filters by its children.
    const kind =
      session === sessions[0]
        ? 'append'
        : random.weighted([
            ['create', 6],
            ['append', 30],
            ['update', 40],
            ['end', 4],
            ['trash', 7],
            ['restore', 7],
            ['purge', 2],
            ['deleteMessage', 5],
          ]);
    switch (kind) {
      case 'create':
        return create(random);
      case 'append':
        return append(random, session);
      case 'update':
        return update(random, session);
      case 'end':
        return void (await send('endSession', 'session { version }', { id, status: random.pick(['COMPLETED', 'ENDED']) }));
      case 'trash':
        return void (await send('deleteSession', 'deletedId', { id }));
      case 'restore':
        return void (await send('restoreSession', 'session { version }', { id, dropLabel: true }));
      case 'purge':
        sessions.splice(sessions.indexOf(session), 1);
        return void (await send('deleteSession', 'deletedId', { id, permanent: true }));
      case 'deleteMessage': {
        const messageId = messages[random.integer(0, Math.max(0, messages.length - 1))];
        if (messageId !== undefined) await send('deleteMessage', 'deletedId', { id: messageId, sessionId: id });
      }
    }
  }

  return {
    sessions,
    async run(count) {
      let remaining = count;
      const write = async (random: RandomSource): Promise<void> => {
        while (remaining-- > 0) await step(random);
      };
      await Promise.all(sources.map(write));
    },
  };
}
