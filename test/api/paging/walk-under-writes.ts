import { createRandomSource, type RandomSource } from '../../../scripts/seed/random-source.ts';
import type { TestApp } from '../../support/app.ts';
import { storedSession, storeSessions } from '../session-filter/stored-session.ts';

/** The size of the list, its pages and the number of concurrent writers. */
export interface WalkPlan {
  readonly seed: number;
  readonly sessions: number;
  readonly pageSize: number;
  readonly writers: number;
}

/** The result of one walk through the whole list during writes. */
export interface Walk {
  readonly name: string;
  readonly pages: number;
  /** The number of writes during the walk. */
  readonly writes: number;
  /** The number of sessions that were in the list throughout with the same sort values. */
  readonly unchanged: number;
  /** Those of them that no page showed. */
  readonly missed: readonly string[];
  /** Sessions shown more than once although their sort values did not change. */
  readonly repeated: readonly string[];
}

/** The ids of the sessions that writers changed, by kind of change. A writer adds the id before it sends the write. */
interface Journal {
  readonly retitled: Set<string>;
  readonly appended: Set<string>;
  readonly removed: Set<string>;
  writes: number;
}

const ORDERS: readonly {
  readonly orderBy: readonly { field: string; direction: string }[];
  readonly movedBy: (journal: Journal) => Set<string>;
}[] = [
  { orderBy: [{ field: 'LAST_ACTIVITY_AT', direction: 'DESC' }], movedBy: journal => journal.appended },
  { orderBy: [{ field: 'CREATED_AT', direction: 'ASC' }], movedBy: () => new Set() },
  { orderBy: [{ field: 'TITLE', direction: 'ASC' }], movedBy: journal => journal.retitled },
  {
    orderBy: [
      { field: 'MESSAGE_COUNT', direction: 'DESC' },
      { field: 'CREATED_AT', direction: 'ASC' },
    ],
    movedBy: journal => journal.appended,
  },
];

const PAGE = /* GraphQL */ `
  query Page($orderBy: [SessionOrder!], $first: Int, $after: String, $last: Int, $before: String) {
    sessions(orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {
      nodes { sessionId }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
`;

interface Page {
  readonly sessions: {
    readonly nodes: readonly { readonly sessionId: string }[];
    readonly pageInfo: {
      readonly hasNextPage: boolean;
      readonly hasPreviousPage: boolean;
      readonly startCursor: string | null;
      readonly endCursor: string | null;
    };
  };
}

const MINUTE = 60_000;
const START = Date.UTC(2026, 0, 1);

/**
 * Stores sessions, many with equal sort values, and walks through all of them in every order and both directions. During each page every
 * writer makes one write, so the writes depend only on the seed.
 */
export async function walkUnderWrites(app: TestApp, plan: WalkPlan): Promise<Walk[]> {
  const random = createRandomSource(plan.seed, 5);
  const at = () => new Date(START + random.integer(0, plan.sessions / 10) * MINUTE);
  const initial = Array.from({ length: plan.sessions }, () =>
    storedSession({
      title: `Title ${random.integer(0, plan.sessions / 5)}`,
      createdAt: at(),
      lastActivityAt: at(),
      messages: Array.from({ length: random.integer(0, 2) }, () => 'hello'),
    }),
  );
  await storeSessions(app.databaseUrl, initial);
  const ids = initial.map(session => session.id);
  const journal: Journal = { retitled: new Set(), appended: new Set(), removed: new Set(), writes: 0 };
  const writers = Array.from({ length: plan.writers }, (_, index) => {
    const knownIds = [...ids];
    const choices = createRandomSource(plan.seed, 10 + index);
    return () => write(app, knownIds, journal, choices);
  });
  const walks: Walk[] = [];
  for (const order of ORDERS) {
    for (const forwards of [true, false]) walks.push(await walk(app, plan, order, forwards, ids, journal, writers));
  }
  return walks;
}

async function walk(
  app: TestApp,
  { pageSize }: WalkPlan,
  { orderBy, movedBy }: (typeof ORDERS)[number],
  forwards: boolean,
  ids: readonly string[],
  journal: Journal,
  writers: readonly (() => Promise<void>)[],
): Promise<Walk> {
  const before = journal.writes;
  const shown: string[] = [];
  let pages = 0;
  for (let cursor: string | null = null, more = true; more; pages += 1) {
    const window: Record<string, unknown> = forwards ? { first: pageSize, after: cursor } : { last: pageSize, before: cursor };
    const [answer] = await Promise.all([app.gql<Page>(PAGE, { orderBy, ...window }), ...writers.map(write => write())]);
    const { nodes, pageInfo }: Page['sessions'] = answer.expectOk().sessions;
    shown.push(...nodes.map(node => node.sessionId));
    cursor = forwards ? pageInfo.endCursor : pageInfo.startCursor;
    more = forwards ? pageInfo.hasNextPage : pageInfo.hasPreviousPage;
  }
  const moved = movedBy(journal);
  const unchanged = ids.filter(id => !moved.has(id) && !journal.removed.has(id));
  const distinct = new Set(shown);
  return {
    name: `${orderBy.map(({ field, direction }) => `${field} ${direction}`).join(', ')}, ${forwards ? 'forwards' : 'backwards'}`,
    pages,
    writes: journal.writes - before,
    unchanged: unchanged.length,
    missed: unchanged.filter(id => !distinct.has(id)),
    repeated: shown.filter((id, index) => shown.indexOf(id) !== index && !moved.has(id)),
  };
}

const OPERATIONS = {
  create: 'mutation($title: String!) { createSession(input: { title: $title }) { session { sessionId } } }',
  append:
    'mutation($id: ID!) { appendMessage(input: { sessionId: $id, message: { role: USER, content: "more" } }) { message { position } } }',
  retitle: 'mutation($id: ID!, $title: String!) { updateSession(input: { id: $id, title: $title }) { session { version } } }',
  trash: 'mutation($id: ID!) { deleteSession(input: { id: $id }) { deletedId } }',
  restore: 'mutation($id: ID!) { restoreSession(input: { id: $id }) { session { version } } }',
  remove: 'mutation($id: ID!) { deleteSession(input: { id: $id, permanent: true }) { deletedId } }',
} as const;

/** Makes one random write. */
async function write(app: TestApp, ids: string[], journal: Journal, random: RandomSource): Promise<void> {
  const operation = random.weighted<keyof typeof OPERATIONS>([
    ['create', 3],
    ['append', 8],
    ['retitle', 8],
    ['trash', 2],
    ['restore', 1],
    ['remove', 1],
  ]);
  const id = ids[random.integer(0, ids.length - 1)] ?? '';
  if (operation === 'append') journal.appended.add(id);
  if (operation === 'retitle') journal.retitled.add(id);
  if (operation === 'trash' || operation === 'remove') journal.removed.add(id);
  const title = `Title ${random.integer(0, ids.length)}`;
  const answer = await app.gql<{ createSession?: { session: { sessionId: string } } }>(
    OPERATIONS[operation],
    operation === 'create' ? { title } : operation === 'retitle' ? { id, title } : { id },
  );
  // Another writer may have deleted the session.
  if (answer.errors !== undefined) answer.expectError('SESSION_NOT_FOUND');
  if (answer.data?.createSession) ids.push(answer.data.createSession.session.sessionId);
  journal.writes += 1;
}
