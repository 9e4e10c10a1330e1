import { beforeAll, describe, expect, it } from 'vitest';
import { createRandomSource } from '../../../scripts/seed/random-source.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { randomSessions } from './random-sessions.ts';
import { type StoredSession, storedSession, storeSessions } from './stored-session.ts';

interface OrderInput {
  readonly field: keyof typeof COMPARE;
  readonly direction?: 'ASC' | 'DESC' | null;
}

const FIRST = 'query($orderBy: [SessionOrder!]) { sessions(first: 100, orderBy: $orderBy) { nodes { sessionId } } }';
const LAST = 'query($orderBy: [SessionOrder!]) { sessions(last: 100, orderBy: $orderBy) { nodes { sessionId } } }';
const NEXT = /* GraphQL */ `
  query Next($orderBy: [SessionOrder!], $after: String) {
    sessions(first: 13, orderBy: $orderBy, after: $after) { nodes { sessionId } pageInfo { endCursor hasNextPage } }
  }
`;
const PREVIOUS = /* GraphQL */ `
  query Previous($orderBy: [SessionOrder!], $before: String) {
    sessions(last: 13, orderBy: $orderBy, before: $before) { nodes { sessionId } pageInfo { startCursor hasPreviousPage } }
  }
`;

const PRIORITIES = ['LOW', 'NORMAL', 'HIGH', 'CRITICAL'];

/** The root collation, like "und-x-icu" in Postgres. Texts that it treats as equal are ordered by their bytes. */
const collator = new Intl.Collator('und');
const compareTexts = (a: string, b: string) => collator.compare(a, b) || Buffer.compare(Buffer.from(a), Buffer.from(b));
const time = (instant: Date | null) => instant?.getTime() ?? Number.POSITIVE_INFINITY;
const compareNumbers = (a: number, b: number) => (a === b ? 0 : a < b ? -1 : 1);
const compareIds = (a: StoredSession, b: StoredSession) => (a.id < b.id ? -1 : 1);

/** The ascending order of each field that the contract requires. */
const COMPARE = {
  CREATED_AT: (a: StoredSession, b: StoredSession) => compareNumbers(time(a.createdAt), time(b.createdAt)),
  STARTED_AT: (a: StoredSession, b: StoredSession) => compareNumbers(time(a.startedAt), time(b.startedAt)),
  UPDATED_AT: (a: StoredSession, b: StoredSession) => compareNumbers(time(a.updatedAt), time(b.updatedAt)),
  LAST_ACTIVITY_AT: (a: StoredSession, b: StoredSession) => compareNumbers(time(a.lastActivityAt), time(b.lastActivityAt)),
  ENDED_AT: (a: StoredSession, b: StoredSession) => compareNumbers(time(a.endedAt), time(b.endedAt)),
  TITLE: (a: StoredSession, b: StoredSession) => compareTexts(a.title, b.title),
  MESSAGE_COUNT: (a: StoredSession, b: StoredSession) => compareNumbers(a.messages.length, b.messages.length),
  TOTAL_TOKENS: (a: StoredSession, b: StoredSession) => compareNumbers(a.totalTokens, b.totalTokens),
  PRIORITY: (a: StoredSession, b: StoredSession) => compareNumbers(PRIORITIES.indexOf(a.priority), PRIORITIES.indexOf(b.priority)),
} as const;

const FIELDS = Object.keys(COMPARE) as [OrderInput['field'], ...OrderInput['field'][]];

/** Returns the expected order of the ids. Equal sessions are ordered by id, in the direction of the first term. */
function sortedIds(sessions: readonly StoredSession[], orderBy: readonly OrderInput[]): string[] {
  const inDirection = (direction: OrderInput['direction'], compared: number) => (direction === 'ASC' ? compared : -compared);
  return sessions
    .toSorted((a, b) => {
      for (const { field, direction } of orderBy) {
        const compared = inDirection(direction, COMPARE[field](a, b));
        if (compared !== 0) return compared;
      }
      return inDirection(orderBy[0]?.direction, compareIds(a, b));
    })
    .map(session => session.id);
}

let app: TestApp;
let sessions: readonly StoredSession[];

beforeAll(async () => {
  app = await startTestApp();
  const random = createRandomSource(7, 1);
  const titles = [
    'zebra',
    'Äpfel',
    'apfel',
    'Apfel',
    'äpfel',
    'zoo',
    'Zoo',
    '10',
    '9',
    '-a',
    'ñ',
    'n',
    'ß',
    'ss',
    'привет',
    'Привет',
    '日本',
    'e\u0301',
    'é',
    ' a',
    'a ',
  ];
  sessions = randomSessions(random, 90)
    .map((session, index) => ({ ...session, title: titles[index % titles.length] ?? '', supersededAt: null, deletedAt: null, label: null }))
    .map(storedSession);
  await storeSessions(app.databaseUrl, sessions);
});

interface Page {
  readonly sessions: {
    readonly nodes: readonly { readonly sessionId: string }[];
    readonly pageInfo: {
      readonly endCursor: string;
      readonly startCursor: string;
      readonly hasNextPage: boolean;
      readonly hasPreviousPage: boolean;
    };
  };
}

async function idsOf(query: string, orderBy: unknown): Promise<string[]> {
  return (await app.gql<Page>(query, { orderBy })).expectOk().sessions.nodes.map(node => node.sessionId);
}

async function expectOrder(orderBy: readonly OrderInput[]): Promise<void> {
  const expectedIds = sortedIds(sessions, orderBy);
  expect(await idsOf(FIRST, orderBy), 'first').toEqual(expectedIds);
  expect(await idsOf(LAST, orderBy), 'last').toEqual(expectedIds);
  const forwards: string[] = [];
  for (let after: string | null = null, more = true; more; ) {
    const { nodes, pageInfo }: Page['sessions'] = (await app.gql<Page>(NEXT, { orderBy, after })).expectOk().sessions;
    forwards.push(...nodes.map(node => node.sessionId));
    after = pageInfo.endCursor;
    more = pageInfo.hasNextPage;
  }
  expect(forwards, 'pages forwards').toEqual(expectedIds);
  const backwards: string[] = [];
  for (let before: string | null = null, more = true; more; ) {
    const { nodes, pageInfo }: Page['sessions'] = (await app.gql<Page>(PREVIOUS, { orderBy, before })).expectOk().sessions;
    backwards.unshift(...nodes.map(node => node.sessionId));
    before = pageInfo.startCursor;
    more = pageInfo.hasPreviousPage;
  }
  expect(backwards, 'pages backwards').toEqual(expectedIds);
}

describe('the orderBy argument of sessions', () => {
  it.each(FIELDS.flatMap(field => [[field, 'ASC'] as const, [field, 'DESC'] as const]))(
    'sorts by %s %s, in pages of both directions',
    (field, direction) => expectOrder([{ field, direction }]),
  );

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('sorts by two or three terms in any directions, in pages of both directions (seed %i)', async seed => {
    const random = createRandomSource(seed, 2);
    const terms = random.integer(2, 3);
    await expectOrder(Array.from({ length: terms }, () => ({ field: random.pick(FIELDS), direction: random.pick(['ASC', 'DESC']) })));
  });

  it('defaults to descending, and to LAST_ACTIVITY_AT if no order is given', async () => {
    expect(await idsOf(FIRST, [{ field: 'CREATED_AT' }])).toEqual(sortedIds(sessions, [{ field: 'CREATED_AT', direction: 'DESC' }]));
    expect(await idsOf(FIRST, [{ field: 'CREATED_AT', direction: null }])).toEqual(sortedIds(sessions, [{ field: 'CREATED_AT' }]));
    const byActivity = sortedIds(sessions, [{ field: 'LAST_ACTIVITY_AT', direction: 'DESC' }]);
    for (const orderBy of [undefined, null, []]) expect(await idsOf(FIRST, orderBy)).toEqual(byActivity);
  });

  it('accepts a single term in place of a list, and returns BAD_USER_INPUT for more than three terms', async () => {
    expect(await idsOf(FIRST, { field: 'TITLE', direction: 'ASC' })).toEqual(sortedIds(sessions, [{ field: 'TITLE', direction: 'ASC' }]));
    const terms = Array.from({ length: 4 }, () => ({ field: 'TITLE' }));
    expect((await app.gql(FIRST, { orderBy: terms })).expectError('BAD_USER_INPUT').extensions.details.field).toBe('orderBy');
  });
});
