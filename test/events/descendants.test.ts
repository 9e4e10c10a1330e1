import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createRandomSource, type RandomSource } from '../../scripts/seed/random-source.ts';
import { createEventLog, type EventLog, type EventRequest } from '../../src/events/event-log.ts';
import type { StoredEvent } from '../../src/events/stored-event.ts';
import { createLog } from '../../src/log.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { openWriter, takeEvents } from './event-writer.ts';

const log = createLog('silent');
const AGENTS = ['main', 'other'] as const;

type NonEmpty<Item> = readonly [Item, ...Item[]];

/** Errors that a writer may get because other writers change the same sessions at the same time. */
const EXPECTED_ERRORS = ['SESSION_NOT_FOUND', 'BAD_USER_INPUT'];

/** Sends `length` random mutations on a shared list of sessions, to which it adds the sessions it creates. */
async function sendRandomMutations(app: TestApp, random: RandomSource, sessions: [string, ...string[]], length: number): Promise<void> {
  for (let step = 0; step < length; step += 1) {
    const [id, parentId] = [random.pick(sessions), random.chance(0.3) ? sessions[0] : random.pick(sessions)];
    const kind = random.integer(0, 99);
    if (kind < 40) {
      const input = { agentId: random.pick(AGENTS), ...(kind < 28 ? { parentId } : {}) };
      const created = await app.gql<{ createSession: { session: { sessionId: string } } }>(
        'mutation($input: CreateSessionInput!) { createSession(input: $input) { session { sessionId } } }',
        { input },
      );
      if (created.errors === undefined) sessions.push(created.expectOk().createSession.session.sessionId);
      else expect(EXPECTED_ERRORS).toContain(created.errors[0]?.extensions.code);
      continue;
    }
    const mutation =
      kind < 60
        ? 'updateSession(input: { id: $id, parentId: $parentId })'
        : kind < 75
          ? 'appendMessage(input: { sessionId: $id, message: { role: USER, content: "x" } })'
          : kind < 82 || id === sessions[0]
            ? 'deleteSession(input: { id: $id })'
            : kind < 90
              ? 'restoreSession(input: { id: $id })'
              : 'deleteSession(input: { id: $id, permanent: true })';
    const variables = mutation.includes('$parentId') ? '($id: ID!, $parentId: ID!)' : '($id: ID!)';
    const response = await app.gql(`mutation${variables} { ${mutation} { __typename } }`, { id, parentId });
    if (response.errors !== undefined) expect(EXPECTED_ERRORS).toContain(response.errors[0]?.extensions.code);
  }
}

async function createSession(app: TestApp, parentId?: string): Promise<string> {
  const created = await app.gql<{ createSession: { session: { sessionId: string } } }>(
    'mutation($parentId: ID) { createSession(input: { agentId: "main", parentId: $parentId }) { session { sessionId } } }',
    { parentId },
  );
  return created.expectOk().createSession.session.sessionId;
}

/** Returns the positions of the events that a subscriber with this request must receive, computed from the parent links in the whole log. */
function expectedSeqs(events: readonly StoredEvent[], { sessionIds, visibleAgents }: EventRequest): readonly bigint[] {
  const parents = new Map<string, string>();
  const isFollowed = (id: string): boolean => {
    for (let ancestor: string | undefined = id; ancestor !== undefined; ancestor = parents.get(ancestor)) {
      if (sessionIds?.includes(ancestor)) return true;
    }
    return false;
  };
  const seqs: bigint[] = [];
  for (const event of events) {
    if ((event.type === 'CREATED' || event.type === 'UPDATED') && event.payload.parentId !== undefined) {
      parents.set(event.sessionId, event.payload.parentId);
    }
    if (isFollowed(event.sessionId) && (visibleAgents?.includes(event.agentId) ?? true)) seqs.push(event.seq);
    if (event.type === 'UPDATED' && event.payload.formerParentId !== undefined) parents.delete(event.sessionId);
    if (event.type === 'DELETED' && event.payload.permanent) parents.delete(event.sessionId);
  }
  return seqs;
}

/** Reads the next events of a stream and returns their positions in the log. */
async function takeSeqs(stream: AsyncIterator<StoredEvent>, count: number): Promise<readonly bigint[]> {
  return (await takeEvents(stream, count)).map(event => event.seq);
}

/** Does the same, but closes the stream after a few events each time and resumes after the last one. */
async function takeSeqsWithResumes(
  eventLog: EventLog,
  request: EventRequest,
  count: number,
  random: RandomSource,
): Promise<readonly bigint[]> {
  const seqs: bigint[] = [];
  let after = 0n;
  while (seqs.length < count) {
    const stream = await eventLog.subscribe({ ...request, after });
    seqs.push(...(await takeSeqs(stream, Math.min(random.integer(1, 25), count - seqs.length))));
    await stream.return?.();
    after = seqs.at(-1) ?? after;
  }
  return seqs;
}

describe.each([1, 2, 3, 4])('sessionEvents with includeDescendants, random history %i', seed => {
  it('gives the same events to uninterrupted, slow and resumed streams', {
    timeout: 120_000,
  }, async () => {
    const random = createRandomSource(seed, 0);
    const app = await startTestApp();
    const open = (bufferSize: number) => createEventLog({ url: app.databaseUrl, log, bufferSize });
    const logs: [EventLog, ...EventLog[]] = [await open(1), await open(3), await open(256)];
    const writer = await openWriter(app.databaseUrl);
    try {
      const roots: NonEmpty<string> = [await createSession(app), await createSession(app), await createSession(app)];
      // Every history contains a descendant of the first session that is deleted permanently.
      const child = await createSession(app, roots[0]);
      const grandchild = await createSession(app, child);
      const { data } = await app.gql('mutation($id: ID!) { deleteSession(input: { id: $id, permanent: true }) { deletedId } }', {
        id: child,
      });
      expect(data).toMatchObject({ deleteSession: { deletedId: expect.any(String) } });
      const requests: EventRequest[] = [
        { visibleAgents: null, sessionIds: roots.slice(0, 1), includeDescendants: true },
        { visibleAgents: null, sessionIds: roots, includeDescendants: true },
        { visibleAgents: ['main'], sessionIds: roots.slice(0, 2), includeDescendants: true },
      ];
      const streams = await Promise.all(
        requests.flatMap(request => logs.map(async eventLog => ({ request, stream: await eventLog.subscribe({ ...request, after: 0n }) }))),
      );
      // The streams become live when their first event is requested.
      const started = streams.map(({ stream }) => stream.next());
      const sessions: [string, ...string[]] = [...roots, grandchild];
      const writers = Array.from({ length: 3 }, (_, number) =>
        sendRandomMutations(app, createRandomSource(seed, 1 + number), sessions, 60),
      );
      await Promise.all(writers);

      const [eventLog] = logs;
      const end = await eventLog.sync();
      const events = await takeEvents(await eventLog.subscribe({ visibleAgents: null, after: 0n }), Number(end));

      for (const [index, { request, stream }] of streams.entries()) {
        const expected = expectedSeqs(events, request);
        const first = await started[index];
        expect([first?.value.seq, ...(await takeSeqs(stream, expected.length - 1))]).toEqual(expected);
      }
      // A new event log has no events in memory, so it reads all of them from the table.
      const fresh = await open(256);
      logs.push(fresh);
      for (const request of requests) {
        const expected = expectedSeqs(events, request);
        for (const openedLog of logs) expect(await takeSeqsWithResumes(openedLog, request, expected.length, random)).toEqual(expected);
        for (let attempt = 0; attempt < 20; attempt += 1) {
          const after = BigInt(random.integer(0, Number(end) - 1));
          const rest = expected.filter(seq => seq > after);
          const stream = await random.pick(logs).subscribe({ ...request, after });
          expect(await takeSeqs(stream, rest.length), `after ${after}`).toEqual(rest);
          await stream.return?.();
        }
      }
      // The next event of each stream is one written now, so no stream gave too few or too many events.
      const marker = await writer.write({ sessionId: roots[0] });
      eventLog.wake();
      for (const { stream } of streams) expect((await stream.next()).value?.id).toBe(marker);
    } finally {
      await Promise.all(logs.map(eventLog => eventLog.close()));
      await writer.client.end();
      await app.close();
    }
  });
});

describe('includeDescendants with more sessions than are looked up one by one', () => {
  it('gives exactly the events of the tree from the table', async () => {
    const app = await startTestApp();
    const writer = await openWriter(app.databaseUrl);
    const eventLog = await createEventLog({ url: app.databaseUrl, log });
    try {
      const root = randomUUID();
      const expected = [await writer.write({ sessionId: root, type: 'CREATED', payload: {} })];
      await writer.createSession(root);
      for (let number = 0; number < 400; number += 1) {
        const child = randomUUID();
        await writer.createSession(child, root);
        expected.push(await writer.write({ sessionId: child, type: 'CREATED', payload: { parentId: root } }));
        await writer.writeMany([randomUUID(), randomUUID()]);
        expected.push(await writer.write({ sessionId: child }));
      }
      for (const [after, missed] of [
        [0n, 0],
        [1n + 4n * 300n, 601],
      ] as const) {
        await eventLog.sync();
        const stream = await eventLog.subscribe({ visibleAgents: null, sessionIds: [root], includeDescendants: true, after });
        expect((await takeEvents(stream, expected.length - missed)).map(({ id }) => id)).toEqual(expected.slice(missed));
        await stream.return?.();
      }
    } finally {
      await eventLog.close();
      await writer.client.end();
      await app.close();
    }
  });
});
