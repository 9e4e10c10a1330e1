import { beforeAll, describe, expect, it } from 'vitest';
import { createRandomSource } from '../../../scripts/seed/random-source.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { type FilterInput, selectSessions } from './reference-filter.ts';
import { type StoredSession, storedSession, storeSessions } from './stored-session.ts';

const START = Date.UTC(2026, 0, 1);
const SESSIONS = 320;

const PAGE = /* GraphQL */ `
  query Page($filter: SessionFilter, $orderBy: [SessionOrder!], $first: Int, $after: String, $last: Int, $before: String, $count: Boolean = false) {
    sessions(filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {
      totalCount @include(if: $count)
      nodes { sessionId }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
`;

interface Page {
  readonly sessions: {
    readonly totalCount?: number;
    readonly nodes: readonly { readonly sessionId: string }[];
    readonly pageInfo: {
      readonly hasNextPage: boolean;
      readonly hasPreviousPage: boolean;
      readonly startCursor: string | null;
      readonly endCursor: string | null;
    };
  };
}

/** Builds more sessions and messages than one search batch covers. Some sessions have so many messages that their hits are in a later batch. */
function searchedSessions(): readonly StoredSession[] {
  const random = createRandomSource(3, 9);
  const word = () =>
    random.weighted<string>([
      ['common', 30],
      ['seldom', 4],
      ['filler', 200],
    ]);
  return Array.from({ length: SESSIONS }, (_, index) => {
    const isLong = index % 40 === 7;
    const messages = Array.from({ length: isLong ? 450 : random.integer(0, 20) }, word);
    return storedSession({
      agentId: index % 2 === 0 ? 'even' : 'odd',
      title: random.chance(0.02) ? `common ${index}` : `Session ${index}`,
      createdAt: new Date(START + random.integer(0, 100) * 60_000),
      lastActivityAt: new Date(START + random.integer(0, 100) * 60_000),
      // Half of the long sessions have their only hit in the first message, the others have none.
      messages: isLong
        ? messages.map((text, position) => (position === 0 && index % 80 === 7 ? 'common seldom' : text.replace(/common|seldom/, 'filler')))
        : messages,
      deletedAt: random.chance(0.05) ? new Date(START) : null,
    });
  });
}

const sessions = searchedSessions();

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
  await storeSessions(app.databaseUrl, sessions);
});

const byTime = (field: 'createdAt' | 'lastActivityAt', sign: number) => (a: StoredSession, b: StoredSession) =>
  sign * (a[field].getTime() - b[field].getTime() || (a.id < b.id ? -1 : 1));

const ORDERS = [
  [{ field: 'LAST_ACTIVITY_AT', direction: 'DESC' }, byTime('lastActivityAt', -1)],
  [{ field: 'CREATED_AT', direction: 'ASC' }, byTime('createdAt', 1)],
] as const;

const FILTERS: readonly FilterInput[] = [
  { search: 'common' },
  { search: 'COMM' },
  { search: 'seldom' },
  { search: 'common seldom' },
  { search: 'nowhere' },
  { search: 'filler', agentId: { eq: 'odd' } },
  { search: 'common', trashed: true },
  { search: 'common', not: { search: 'seldom' } },
];

describe('pages of sessions with a search filter', () => {
  it.each(FILTERS.map(filter => [JSON.stringify(filter), filter] as const))(
    'contain the sessions of the reference implementation, in order: %s',
    async (_, filter) => {
      for (const [orderBy, compare] of ORDERS) {
        const expectedIds = selectSessions(sessions, filter)
          .toSorted(compare)
          .map(session => session.id);
        const { sessions: emptyPage } = (await app.gql<Page>(PAGE, { filter, first: 0, count: true })).expectOk();
        expect(emptyPage.totalCount).toBe(expectedIds.length);
        for (const [size, forwards] of [
          [7, true],
          [50, true],
          [9, false],
        ] as const) {
          const shown: string[] = [];
          for (let cursor: string | null = null, more = true; more; ) {
            const window: Record<string, unknown> = forwards ? { first: size, after: cursor } : { last: size, before: cursor };
            const answer = await app.gql<Page>(PAGE, { filter, orderBy: [orderBy], ...window });
            const { nodes, pageInfo }: Page['sessions'] = answer.expectOk().sessions;
            const ids = nodes.map(node => node.sessionId);
            if (forwards) shown.push(...ids);
            else shown.unshift(...ids);
            cursor = forwards ? pageInfo.endCursor : pageInfo.startCursor;
            more = forwards ? pageInfo.hasNextPage : pageInfo.hasPreviousPage;
          }
          expect(shown).toEqual(expectedIds);
        }
      }
    },
  );

  it('need one statement, and one more for totalCount', async () => {
    const answer = await app.gql(PAGE, { filter: { search: 'common' }, first: 5, count: true });
    answer.expectOk();
    expect(answer.sql).toHaveLength(2);
  });
});
