import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { makeKey } from '../security/keys.ts';
import { storedSession, storeSessions } from '../session-filter/stored-session.ts';
import { type ListEvent, listSubscription, watchList } from './live-list.ts';

const CREATE = 'mutation ($input: CreateSessionInput!) { createSession(input: $input) { session { sessionId } } }';
const UPDATE = 'mutation ($input: UpdateSessionInput!) { updateSession(input: $input) { session { version } } }';
const DELETE = 'mutation ($id: ID!, $permanent: Boolean) { deleteSession(input: { id: $id, permanent: $permanent }) { deletedId } }';
const RESTORE = 'mutation ($id: ID!) { restoreSession(input: { id: $id }) { session { version } } }';
const APPEND = `mutation ($id: ID!, $content: String!) {
  appendMessage(input: { sessionId: $id, message: { role: USER, content: $content } }) { message { position } } }`;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});

async function create(input: Readonly<Record<string, unknown>> = {}): Promise<string> {
  const created = await app.gql<{ createSession: { session: { sessionId: string } } }>(CREATE, { input });
  return created.expectOk().createSession.session.sessionId;
}

async function mutate(mutation: string, variables: Record<string, unknown>): Promise<void> {
  (await app.gql(mutation, variables)).expectOk();
}

/** The statements that read a live list since the last `resetSql`. */
const listReads = () => app.sql.filter(({ sql }) => sql.includes('xmin'));

describe('sessionList', () => {
  it('starts with the result of the query and delivers every kind of change to a session', async () => {
    const category = randomUUID();
    const [first, second, third] = [await create({ category }), await create({ category }), await create({ category })];
    const list = await watchList(app, { filter: { category: { eq: category } }, first: 2, orderBy: [{ field: 'LAST_ACTIVITY_AT' }] });
    const shown = () => list.content.rows.map(row => row.sessionId);
    expect(list.events).toHaveLength(1);
    expect([shown(), list.content.total]).toEqual([[third, second], 3]);

    const steps: readonly (readonly [string, Record<string, unknown>, readonly string[], number, readonly object[]])[] = [
      // A session beyond the end of the list moves to the top.
      [
        APPEND,
        { id: first, content: 'x' },
        [first, third],
        3,
        [
          { type: 'REMOVED', fromIndex: 1 },
          { type: 'ADDED', toIndex: 0 },
        ],
      ],
      // A session is deleted and the next one takes its place.
      [
        DELETE,
        { id: first },
        [third, second],
        2,
        [
          { type: 'REMOVED', fromIndex: 0 },
          { type: 'ADDED', toIndex: 1 },
        ],
      ],
      [
        RESTORE,
        { id: first },
        [first, third],
        3,
        [
          { type: 'REMOVED', fromIndex: 1 },
          { type: 'ADDED', toIndex: 0 },
        ],
      ],
      [UPDATE, { input: { id: third, title: 'renamed' } }, [first, third], 3, [{ type: 'UPDATED', fromIndex: 1, toIndex: 1 }]],
      [APPEND, { id: third, content: 'x' }, [third, first], 3, [{ type: 'UPDATED', fromIndex: 1, toIndex: 0 }]],
      [UPDATE, { input: { id: third, category: 'other' } }, [first, second], 2, [{ type: 'REMOVED', fromIndex: 0 }, { type: 'ADDED' }]],
      // A session joins at the top. Then one beyond the end of the list is deleted, which changes only the total.
      [
        UPDATE,
        { input: { id: third, category } },
        [third, first],
        3,
        [
          { type: 'REMOVED', fromIndex: 1 },
          { type: 'ADDED', toIndex: 0 },
        ],
      ],
      [DELETE, { id: second, permanent: true }, [third, first], 2, []],
      [DELETE, { id: third, permanent: true }, [first], 1, [{ type: 'REMOVED', fromIndex: 0, toIndex: null, node: null }]],
    ];
    for (const [mutation, variables, ids, total, changes] of steps) {
      const before = list.events.length;
      await mutate(mutation, variables);
      await list.settle();
      expect([shown(), list.content.total]).toEqual([ids, total]);
      expect(list.events.slice(before)).toMatchObject([{ changes }]);
    }
    await list.close();
  });

  it('updates when messages or parents change that the filter depends on', async () => {
    const parentId = await create();
    const needle = randomUUID();
    const child = await create();
    const found = await watchList(app, { filter: { search: needle } });
    const children = await watchList(app, { filter: { parentId }, total: false });
    await mutate(APPEND, { id: child, content: `the ${needle}` });
    await mutate(UPDATE, { input: { id: child, parentId } });
    for (const list of [found, children]) {
      await list.settle();
      expect(list.content.rows.map(row => row.sessionId)).toEqual([child]);
    }
    await mutate(DELETE, { id: parentId, permanent: true });
    await children.settle();
    expect(children.content.rows).toEqual([]);
    await found.settle();
    expect(found.content.rows[0]?.parent).toBeNull();
    await found.close();
    await children.close();
  });

  it('updates as time passes if the filter has activeWithinMinutes', async () => {
    const category = randomUUID();
    const session = storedSession({ category, lastActivityAt: new Date(Date.now() - 55_000) });
    await storeSessions(app.databaseUrl, [session]);
    const filter = { category: { eq: category } };
    const active = await watchList(app, { filter: { ...filter, activeWithinMinutes: 1 } });
    const idle = await watchList(app, { filter: { ...filter, not: { activeWithinMinutes: 1 } } });
    await expect.poll(() => [active.content, idle.content.rows.map(row => row.sessionId)]).toEqual([{ rows: [], total: 0 }, [session.id]]);
    await active.close();
    await idle.close();
  });

  it('delivers changes of another server over server-sent events', async () => {
    const other = await app.startSecondServer();
    const category = randomUUID();
    const stream = await other.subscribe<{ sessionList: ListEvent }>(
      listSubscription(),
      { filter: { category: { eq: category } } },
      { over: 'sse' },
    );
    expect((await stream.next()).sessionList).toMatchObject({ total: 0, snapshot: [], changes: [] });
    const id = await create({ category });
    expect((await stream.next()).sessionList).toMatchObject({
      total: 1,
      snapshot: null,
      changes: [{ type: 'ADDED', sessionId: id, toIndex: 0 }],
    });
    await stream.close();
    await other.close();
  });

  it('sends a cursor from which sessionEvents continues', async () => {
    const category = randomUUID();
    const id = await create({ category });
    const list = await watchList(app, { filter: { category: { eq: category } } });
    const after = list.events[0]?.cursor;
    await mutate(UPDATE, { input: { id, title: 'behind' } });
    const stream = await app.subscribe('subscription ($after: String) { sessionEvents(after: $after) { __typename sessionId } }', {
      after,
    });
    expect(await stream.next()).toEqual({ sessionEvents: { __typename: 'SessionUpdatedEvent', sessionId: id } });
    await list.settle();
    const later = await app.subscribe('subscription ($after: String) { sessionEvents(after: $after) { __typename sessionId } }', {
      after: list.events.at(-1)?.cursor,
    });
    await mutate(APPEND, { id, content: 'x' });
    expect(await later.next()).toEqual({ sessionEvents: { __typename: 'MessageAddedEvent', sessionId: id } });
    for (const each of [stream, later, list]) await each.close();
  });

  it.each([
    [{ first: 101 }, 'PAGE_SIZE_TOO_LARGE'],
    [{ first: -1 }, 'BAD_USER_INPUT'],
    [{ orderBy: Array.from({ length: 4 }, () => ({ field: 'TITLE' })) }, 'BAD_USER_INPUT'],
    [{ filter: { activeWithinMinutes: 0 } }, 'BAD_USER_INPUT'],
  ])('with %j returns %s, like the query', async (list, code) => {
    const stream = await app.subscribe(listSubscription(), list);
    expect(await stream.nextResult()).toMatchObject({ errors: [{ extensions: { code } }] });
    expect(await stream.nextResult()).toBeNull();
    (
      await app.gql(
        'query ($filter: SessionFilter, $orderBy: [SessionOrder!], $first: Int) { sessions(filter: $filter, orderBy: $orderBy, first: $first) { nodes { id } } }',
        list,
      )
    ).expectError(code === 'PAGE_SIZE_TOO_LARGE' ? code : 'BAD_USER_INPUT');
  });

  it('reads the list once per change for 200 subscribers, and counts only if total is selected', async () => {
    const category = randomUUID();
    const id = await create({ category });
    const client = app.wsClient();
    const streams = Array.from({ length: 200 }, () =>
      client.iterate<{ sessionList: ListEvent }>({ query: listSubscription(false), variables: { filter: { category: { eq: category } } } }),
    );
    const next = (): Promise<readonly (ListEvent | undefined)[]> =>
      Promise.all(streams.map(async stream => (await stream.next()).value?.data?.sessionList));
    for (const event of await next()) expect(event?.snapshot?.map(row => row.sessionId)).toEqual([id]);
    for (const title of ['one', 'two', 'three']) {
      app.resetSql();
      await mutate(UPDATE, { input: { id, title } });
      for (const event of await next())
        expect(event?.changes).toMatchObject([{ type: 'UPDATED', fromIndex: 0, toIndex: 0, node: { title } }]);
      expect(listReads()).toHaveLength(1);
      expect(app.sql.filter(({ sql }) => sql.includes('count('))).toEqual([]);
    }
    for (const stream of streams) await stream.return?.();
    await expect.poll(() => app.app.events.gauges().subscriptions).toBe(0);
  }, 60_000);

  it('costs its sessions once for snapshot and once more for changes', async () => {
    const limited = await startTestApp({ env: { MAX_QUERY_COST: '100' } });
    const errorOrOk = async (query: string) => {
      const stream = await limited.subscribe(query);
      const result = await stream.nextResult();
      await stream.close();
      return result?.errors?.[0]?.extensions ?? 'within the limit';
    };
    expect(await errorOrOk('subscription { sessionList(first: 98) { snapshot { id } } }')).toBe('within the limit');
    expect(await errorOrOk('subscription { sessionList(first: 99) { snapshot { id } } }')).toMatchObject({ code: 'QUERY_TOO_COMPLEX' });
    expect(await errorOrOk('subscription { sessionList(first: 45) { total snapshot { id } changes { type } } }')).toMatchObject({
      code: 'QUERY_TOO_COMPLEX',
    });
    expect(await errorOrOk('subscription { sessionList(first: 44) { total snapshot { id } changes { type } } }')).toBe('within the limit');
    await limited.close();
  });
});

describe('sessionList of a key bound to an agent', () => {
  it('shows no sessions of other agents and is not read again when they change', async () => {
    const secured = await startTestApp();
    const admin = await makeKey(secured, { scope: 'ADMIN' });
    const bound = await makeKey(secured, { scope: 'READ', agentIds: ['a'], by: admin.secret });
    const createAsAdmin = async (agentId: string) =>
      (
        await secured.gql<{ createSession: { session: { sessionId: string } } }>(CREATE, { input: { agentId } }, { headers: admin.headers })
      ).expectOk().createSession.session.sessionId;
    const own = await createAsAdmin('a');
    const foreign = await createAsAdmin('b');
    const stream = await secured.subscribe<{ sessionList: ListEvent }>(
      listSubscription(),
      {},
      { authorization: String(bound.headers.authorization) },
    );
    expect((await stream.next()).sessionList).toMatchObject({ total: 1, snapshot: [{ sessionId: own }] });
    secured.resetSql();
    await secured.gql(UPDATE, { input: { id: foreign, title: 'foreign' } }, { headers: admin.headers });
    await createAsAdmin('b');
    const another = await createAsAdmin('a');
    expect((await stream.next()).sessionList).toMatchObject({ total: 2, changes: [{ type: 'ADDED', sessionId: another }] });
    expect(secured.sql.filter(({ sql }) => sql.includes('xmin'))).toHaveLength(1);
    await stream.close();
    await secured.close();
  });
});
