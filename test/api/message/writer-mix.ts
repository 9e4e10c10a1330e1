import { expect } from 'vitest';
import { createRandomSource, type RandomSource } from '../../../scripts/seed/random-source.ts';
import { type MutationApi, type MutationName, outcomesOf } from '../session/mutation-api.ts';

/** Writers append to one session concurrently, single messages and batches. Expects no message to be lost, duplicated or out of order. */
export async function appendConcurrently(
  api: MutationApi,
  { writers, calls, seed }: { writers: number; calls: number; seed: number },
): Promise<void> {
  const { id, sessionId } = await api.create({ status: 'SPAWNING' });
  const written = await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      const random = createRandomSource(seed, writer);
      let count = 0;
      for (let call = 0; call < calls; call += 1) {
        const message = () => {
          count += 1;
          return { role: 'USER', content: `${writer}/${count}`, usage: { inputTokens: 1, costUsd: 0.000_000_001 } };
        };
        const input = random.chance(0.7)
          ? api.send('appendMessage', { sessionId: id, message: message() }, 'message { id }')
          : api.send(
              'appendMessages',
              { sessionId: id, messages: Array.from({ length: random.integer(1, 5) }, message) },
              'messages { id }',
            );
        (await input).expectOk();
      }
      return count;
    }),
  );
  const total = written.reduce((sum, count) => sum + count, 0);
  const rows = await api.rows<{ position: number; parent: number | null; content: string; active: boolean }>(
    `select position::int, parent_position::int as parent, content, on_branch as active
    from aria_engine.chat_messages where session_id = $1 order by position`,
    [sessionId],
  );
  expect(rows.map(({ position, parent, active }) => [position, parent, active])).toEqual(
    Array.from({ length: total }, (_, index) => [index + 1, index === 0 ? null : index, true]),
  );
  for (let writer = 0; writer < writers; writer += 1) {
    const ofWriter = rows.flatMap(({ content }) => (content.startsWith(`${writer}/`) ? [Number(content.split('/')[1])] : []));
    expect(ofWriter).toEqual(Array.from({ length: written[writer] ?? 0 }, (_, index) => index + 1));
  }
  expect(await api.session(id)).toMatchObject({
    messageCount: total,
    status: 'WORKING',
    version: 2,
    usage: { inputTokens: total, totalTokens: total, costUsd: total / 1e9 },
  });
}

/** Runs appends and the end of their session concurrently. Expects every acknowledged message to be stored, and none after the end. */
export async function appendWhileEnding(api: MutationApi, { rounds, appends }: { rounds: number; appends: number }): Promise<void> {
  const allOutcomes = new Set<string>();
  for (let round = 0; round < rounds; round += 1) {
    const { id } = await api.create();
    const root = await api.append(id, { content: 'root' });
    const append = (index: number) =>
      // Every fourth message has a parentId, so that the branching code runs too.
      api.send('appendMessage', {
        sessionId: id,
        message: { role: 'USER', content: 'x', ...(index % 4 === 0 ? { parentId: root.id } : {}) },
      });
    const first = Math.floor(appends / 2);
    const before = Array.from({ length: first }, (_, index) => append(index));
    const ending = round % 2 === 0 ? api.send('endSession', { id }) : api.send('updateSession', { id, status: 'COMPLETED' });
    const after = Array.from({ length: appends - first }, (_, index) => append(index));
    const outcomes = await outcomesOf([...before, ...after]);
    (await ending).expectOk();
    for (const outcome of outcomes) allOutcomes.add(outcome);
    (await append(0)).expectError('SESSION_ENDED');
    (await append(1)).expectError('SESSION_ENDED');
    expect(await api.session(id)).toMatchObject({ messageCount: 1 + outcomes.filter(outcome => outcome === 'OK').length });
  }
  expect([...allOutcomes].filter(outcome => !['OK', 'SESSION_ENDED'].includes(outcome))).toEqual([]);
  await expectConsistent(api);
}

/** Runs appends and the permanent deletion of their session concurrently. Expects nothing of the session to remain. */
export async function appendWhileDeleting(api: MutationApi, { rounds, appends }: { rounds: number; appends: number }): Promise<void> {
  const allOutcomes = new Set<string>();
  for (let round = 0; round < rounds; round += 1) {
    const { id } = await api.create();
    const input = { sessionId: id, message: { role: 'USER', content: 'x' } };
    const append = (index: number) =>
      api.send('appendMessage', input, index % 2 === 0 ? 'message { id }' : 'message { content } session { id }');
    const before = Array.from({ length: Math.floor(appends / 2) }, (_, index) => append(index));
    const removal = api.send('deleteSession', { id, permanent: true }, 'deletedId session { id }');
    const after = Array.from({ length: appends - before.length }, (_, index) => append(index));
    for (const outcome of await outcomesOf([...before, ...after])) allOutcomes.add(outcome);
    expect((await removal).expectOk()).toEqual({ deleteSession: { deletedId: id, session: null } });
    (await append(0)).expectError('SESSION_NOT_FOUND');
  }
  // MESSAGE_NOT_FOUND: the session was deleted after the write and before the response read the content.
  expect([...allOutcomes].filter(outcome => !['OK', 'SESSION_NOT_FOUND', 'MESSAGE_NOT_FOUND'].includes(outcome))).toEqual([]);
  await expectConsistent(api);
}

/** Starts branches concurrently, some at a message that is deleted at the same time. Expects one tree with one active path. */
export async function branchConcurrently(api: MutationApi, { rounds, seed }: { rounds: number; seed: number }): Promise<void> {
  const random = createRandomSource(seed, 0);
  const allOutcomes = new Set<string>();
  for (let round = 0; round < rounds; round += 1) {
    const { id } = await api.create();
    const texts = Array.from({ length: 4 }, (_, index) => ({ role: 'USER', content: `${index}` }));
    const { messages } = await api.mutate<{ messages: { id: string }[] }>(
      'appendMessages',
      { sessionId: id, messages: texts },
      'messages { id }',
    );
    const deletedIndex = random.integer(0, 3);
    const parents = [deletedIndex, deletedIndex, random.integer(0, 3), deletedIndex].map(index => messages[index]?.id);
    const append = (parentId?: string) => api.send('appendMessage', { sessionId: id, message: { role: 'USER', content: 'x', parentId } });
    const before = parents.slice(0, random.integer(0, 4)).map(append);
    const removal = api.send('deleteMessage', { sessionId: id, id: messages[deletedIndex]?.id });
    const after = [...parents.slice(before.length), undefined].map(append);
    for (const outcome of await outcomesOf([...before, ...after])) allOutcomes.add(outcome);
    (await removal).expectOk();
    (await append(messages[deletedIndex]?.id)).expectError('MESSAGE_NOT_FOUND');
  }
  expect([...allOutcomes].filter(outcome => !['OK', 'MESSAGE_NOT_FOUND'].includes(outcome))).toEqual([]);
  await expectConsistent(api);
}

/** The outcomes that a random call may have. Any other fails the test. */
const EXPECTED = [
  ...[
    'OK',
    'SESSION_NOT_FOUND',
    'MESSAGE_NOT_FOUND',
    'SESSION_ENDED',
    'INVALID_STATUS_TRANSITION',
    'VERSION_CONFLICT',
    'KEY_TAKEN',
    'LABEL_TAKEN',
  ],
  'BAD_USER_INPUT',
];

type Call = readonly [MutationName, Readonly<Record<string, unknown>>];

/** A message that a random call has written. */
interface WrittenMessage {
  readonly id: string;
  readonly sessionId: string;
}

/**
 * Writers call random mutations on a few sessions that share keys, labels and parents. Any of these calls may fail because of other writers.
 * Each writer therefore also calls every mutation once on a session of its own, and these calls must succeed.
 */
export async function writeAtRandom(
  api: MutationApi,
  { writers, calls, seed }: { writers: number; calls: number; seed: number },
): Promise<void> {
  const sessions: [string, ...string[]] = [(await api.create()).id];
  const messages: WrittenMessage[] = [];
  await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      const random = createRandomSource(seed, writer);
      const callOnOwnSession = random.integer(0, calls - 1);
      for (let call = 0; call < calls; call += 1) {
        if (call === callOnOwnSession) await callEveryMutation(api, random);
        const [name, input] = nextCall(random, sessions, messages);
        const selection = name === 'appendMessage' ? 'message { id }' : name === 'createSession' ? 'session { id }' : '__typename';
        const answer = await api.send<{ message?: { id: string }; session?: { id: string } }>(name, input, selection);
        const outcome = answer.errors?.[0]?.extensions.code ?? 'OK';
        if (!EXPECTED.includes(outcome)) throw new Error(`${name} ${JSON.stringify(input)}: ${JSON.stringify(answer.errors)}`);
        const { message, session } = answer.data?.[name] ?? {};
        if (message !== undefined) addOrReplace(random, messages, { id: message.id, sessionId: String(input.sessionId) }, 40);
        if (session !== undefined) addOrReplace(random, sessions, session.id, 8);
      }
    }),
  );
  await expectConsistent(api);
}

/** Creates a session that no other writer knows and calls every mutation on it. */
async function callEveryMutation(api: MutationApi, random: RandomSource): Promise<void> {
  const { id } = await api.create({ status: 'SPAWNING' });
  const root = await api.append(id, { content: 'root' });
  const texts = ['one', 'two', 'three'].map(content => ({ role: 'USER', content }));
  const { messages } = await api.mutate<{ messages: { id: string }[] }>(
    'appendMessages',
    { sessionId: id, messages: texts },
    'messages { id }',
  );
  const branch = await api.append(id, { content: 'branch', parentId: root.id });
  await api.update({ id, title: 'own' });
  await api.mutate('deleteMessage', { sessionId: id, id: random.pick([root, branch, ...messages]).id }, '__typename');
  await api.mutate('endSession', { id, status: 'COMPLETED' }, '__typename');
  await api.mutate('deleteSession', { id }, '__typename');
  await api.mutate('restoreSession', { id }, '__typename');
  expect(await api.session(id)).toMatchObject({ title: 'own', status: 'COMPLETED', messageCount: 4, deletedAt: null });
}

/** Adds the item, in place of a random one if the list has `max` items. */
function addOrReplace<Item>(random: RandomSource, items: Item[], item: Item, max: number): void {
  if (items.length < max) items.push(item);
  else items[random.integer(0, items.length - 1)] = item;
}

function pickOr<Item>(random: RandomSource, [first, ...rest]: readonly Item[], fallback: Item): Item {
  return first === undefined ? fallback : random.pick([first, ...rest]);
}

function nextCall(random: RandomSource, sessions: [string, ...string[]], messages: readonly WrittenMessage[]): Call {
  const id = random.pick(sessions);
  const text = () => `text ${random.integer(1, 1_000)}`;
  const label = () => `label ${random.integer(1, 4)}`;
  const unknownMessage = { id: 'none yet', sessionId: id };
  const anyMessage = () => pickOr(random, messages, unknownMessage);
  // Mostly a message of the session, because a call with a message of another session has no effect.
  const messageOfSession = () => {
    const ofSession = messages.filter(({ sessionId }) => sessionId === id);
    return random.chance(0.9) ? pickOr(random, ofSession, unknownMessage) : anyMessage();
  };
  const message = () => ({
    role: random.pick(['USER', 'ASSISTANT']),
    content: text(),
    usage: { inputTokens: random.integer(0, 30) },
    ...(random.chance(0.2) ? { parentId: messageOfSession().id } : {}),
  });
  const expectedVersion = random.chance(0.2) ? { expectedVersion: random.integer(1, 4) } : {};
  const maybe = (probability: number, fields: () => object) => (random.chance(probability) ? fields() : {});
  return random.weighted<() => Call>([
    [
      () => [
        'createSession',
        {
          ifExists: random.pick(['ERROR', 'RETURN']),
          status: random.pick(['SPAWNING', 'ACTIVE', 'WORKING']),
          ...maybe(0.5, () => ({ key: `key-${random.integer(1, 4)}` })),
          ...maybe(0.3, () => ({ label: label() })),
          ...maybe(0.5, () => ({ parentId: random.pick(sessions) })),
          ...maybe(0.3, () => ({ tokenLimit: 300 })),
        },
      ],
      12,
    ],
    [
      () => [
        'updateSession',
        {
          id,
          ...expectedVersion,
          ...maybe(0.5, () => ({ metadata: { [`key${random.integer(1, 9)}`]: text() } })),
          ...maybe(0.3, () => ({ title: text() })),
          ...maybe(0.3, () => ({ label: label() })),
          ...maybe(0.3, () => ({ parentId: random.pick(sessions) })),
          ...maybe(0.4, () => ({ status: random.pick(['ACTIVE', 'WORKING', 'COMPLETED', 'ENDED']) })),
        },
      ],
      25,
    ],
    [() => ['endSession', { id, status: random.pick(['COMPLETED', 'FAILED', 'ENDED']), ...expectedVersion }], 4],
    [() => ['deleteSession', { id, permanent: random.chance(0.4), ...expectedVersion }], 6],
    [() => ['restoreSession', { id, dropKey: random.chance(0.5), dropLabel: random.chance(0.5) }], 6],
    [() => ['appendMessage', { sessionId: id, message: message() }], 40],
    [() => ['appendMessages', { sessionId: id, messages: Array.from({ length: random.integer(1, 5) }, message) }], 10],
    [
      () => {
        const { id: messageId, sessionId } = anyMessage();
        return ['deleteMessage', { sessionId: random.chance(0.9) ? sessionId : id, id: messageId }];
      },
      12,
    ],
  ])();
}

/** Queries for violations of the rules of the data. Each returns no rows for a consistent database. */
const VIOLATIONS: Readonly<Record<string, string>> = {
  'a wrong messageCount': `select a.session_id from aria_engine.chat_session_activity a
    where a.message_count <> (select count(*) from aria_engine.chat_messages m where m.session_id = a.session_id)`,
  'a next position that is already used': `select a.session_id from aria_engine.chat_session_activity a
    where a.next_position <= (select max(m.position) from aria_engine.chat_messages m where m.session_id = a.session_id)`,
  'a leaf that does not exist, or no leaf although there are messages': `select a.session_id from aria_engine.chat_session_activity a
    where (a.leaf_position is not null) <> exists (select from aria_engine.chat_messages m where m.session_id = a.session_id)
      or a.leaf_position is not null
        and not exists (select from aria_engine.chat_messages m where m.session_id = a.session_id and m.position = a.leaf_position)`,
  'a parent that does not exist or has a higher position': `select m.session_id, m.position from aria_engine.chat_messages m where m.parent_position is not null
    and not exists (select from aria_engine.chat_messages p
      where p.session_id = m.session_id and p.position = m.parent_position and p.position < m.position)`,
  'an active branch that is not the path from the leaf': `with recursive path(session_id, position) as (
      select session_id, leaf_position from aria_engine.chat_session_activity where leaf_position is not null
      union
      select m.session_id, m.parent_position from path join aria_engine.chat_messages m
        on m.session_id = path.session_id and m.position = path.position and m.parent_position is not null
    )
    select m.session_id, m.position from aria_engine.chat_messages m left join path on path.session_id = m.session_id and path.position = m.position
    where m.on_branch <> (path.position is not null)`,
  'a terminal status without endedAt, or endedAt without a terminal status': `select id from aria_engine.chat_sessions
    where (status in ('COMPLETED', 'FAILED', 'TERMINATED', 'ENDED')) <> (ended_at is not null)`,
  'a trashed session that is listed, or another session that is not': `select s.id from aria_engine.chat_sessions s
    left join aria_engine.chat_session_activity a on a.session_id = s.id where a.listed is distinct from (s.deleted_at is null)`,
  'a cycle of parents': `with recursive lineage(root, id, depth) as (
      select id, parent_id, 1 from aria_engine.chat_sessions where parent_id is not null
      union all
      select lineage.root, s.parent_id, depth + 1 from lineage join aria_engine.chat_sessions s on s.id = lineage.id
      where s.parent_id is not null and depth < 500
    ) select root from lineage where depth = 500`,
  'a STATUS_CHANGED event whose from is not the to of the previous one': `select session_id, payload from (
      select *, lag(payload ->> 'to') over (partition by session_id order by id) as before
      from aria_engine.session_events where type = 'STATUS_CHANGED'
    ) event where before <> payload ->> 'from'`,
  'a status that differs from the last STATUS_CHANGED event': `select s.id from aria_engine.chat_sessions s join (
      select distinct on (session_id) session_id, payload ->> 'to' as status
      from aria_engine.session_events where type = 'STATUS_CHANGED' order by session_id, id desc
    ) last on last.session_id = s.id where last.status <> s.status::text`,
  'a message appended after the session had ended': `select session_id, payload from (
      select *, first_value(payload ->> 'to') over (partition by session_id, changes order by id) as status from (
        select *, count(*) filter (where type = 'STATUS_CHANGED') over (partition by session_id order by id) as changes
        from aria_engine.session_events where type in ('STATUS_CHANGED', 'MESSAGE_ADDED')
      ) counted
    ) event where type = 'MESSAGE_ADDED' and changes > 0 and status in ('COMPLETED', 'FAILED', 'TERMINATED', 'ENDED')`,
  'MESSAGE_ADDED events out of order': `select session_id, payload from (
      select *, lag((payload -> 'position')::int) over (partition by session_id order by id) as before
      from aria_engine.session_events where type = 'MESSAGE_ADDED'
    ) event where before >= (payload -> 'position')::int`,
  'a message without exactly one MESSAGE_ADDED event': `select m.session_id, m.position from aria_engine.chat_messages m left join (
      select session_id, payload ->> 'messageId' as id, (payload -> 'position')::bigint as position, count(*) as times
      from aria_engine.session_events where type = 'MESSAGE_ADDED' group by 1, 2, 3
    ) logged on logged.session_id = m.session_id and logged.id = m.id::text and logged.position = m.position
    where logged.times is distinct from 1`,
  'events of added and deleted messages that do not add up to messageCount': `select a.session_id from aria_engine.chat_session_activity a join (
      select session_id, count(*) filter (where type = 'MESSAGE_ADDED') - count(*) filter (where type = 'MESSAGE_DELETED') as left_over
      from aria_engine.session_events group by session_id
    ) logged on logged.session_id = a.session_id where logged.left_over <> a.message_count`,
  'usage of a session below the sum of its messages': `select a.session_id from aria_engine.chat_session_activity a
    where a.total_tokens < (select coalesce(sum(m.total_tokens), 0) from aria_engine.chat_messages m where m.session_id = a.session_id)`,
  'a session above its token limit that never failed': `select s.id from aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id
    where a.total_tokens * 100 >= s.token_limit::bigint * 95
      and not exists (select from aria_engine.session_events e where e.session_id = s.id and e.payload ->> 'to' = 'FAILED')`,
  'a version that does not match the number of events': `select s.id, s.version from aria_engine.chat_sessions s join (
      select session_id, count(*) filter (where type = 'UPDATED') as updates, count(*) filter (where type = 'STATUS_CHANGED') as changes,
        count(*) filter (where type in ('DELETED', 'RESTORED')) as trips
      from aria_engine.session_events group by session_id
    ) logged on logged.session_id = s.id
    where s.version - 1 not between greatest(updates, changes) + trips and updates + changes + trips`,
  'an event of a session after its permanent deletion': `select last.session_id from (
      select distinct on (session_id) session_id, type, payload from aria_engine.session_events order by session_id, id desc
    ) last left join aria_engine.chat_sessions s on s.id = last.session_id
    where (s.id is null) <> (last.type = 'DELETED' and (last.payload -> 'permanent')::boolean)`,
  'a row that remains of a permanently deleted session': `select t.session_id from aria_engine.session_tombstones t where exists (
      select from aria_engine.chat_sessions s where s.id = t.session_id
    ) or exists (select from aria_engine.chat_session_activity a where a.session_id = t.session_id)
      or exists (select from aria_engine.chat_messages m where m.session_id = t.session_id)`,
};

/** Checks the whole database for violations of the rules of the data. */
export async function expectConsistent(api: MutationApi): Promise<void> {
  for (const [violation, statement] of Object.entries(VIOLATIONS)) expect(await api.rows(statement), violation).toEqual([]);
}
