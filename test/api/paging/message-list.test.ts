import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { createRandomSource } from '../../../scripts/seed/random-source.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { runSql } from '../../support/sql.ts';
import { storedSession, storeSessions } from '../session-filter/stored-session.ts';

const SESSION = '0197d000-0000-7000-8000-000000000001';
const OTHER = '0197d000-0000-7000-8000-000000000002';
const COMPACTED_THROUGH = 20;
const ROLES = ['USER', 'ASSISTANT', 'SYSTEM', 'TOOL', 'OTHER'] as const;
const TEXTS = ['alpha', '100%', '100 percent', 'a_b', 'axb', 'a\\b', 'ПРИВЕТ', 'Straße', 'İ', ''] as const;
const TERMS = ['', 'A', '%', '_', '\\', 'прив', 'SS', 'ß', 'i', 'zzz'] as const;
const START = Date.UTC(2026, 0, 1);

interface StoredMessage {
  readonly position: number;
  readonly role: (typeof ROLES)[number];
  readonly content: string;
  readonly onBranch: boolean;
  /** Random: it does not increase with the position. */
  readonly createdAt: Date;
}

interface MessageFilterInput {
  readonly roles?: readonly string[] | null;
  readonly createdAt?: { readonly from?: string | null; readonly before?: string | null } | null;
  readonly afterPosition?: number | null;
  readonly search?: string | null;
}

const random = createRandomSource(1, 7);
/** The positions have gaps, as after deletions. */
const messages: readonly StoredMessage[] = Array.from({ length: 80 }, (_, index) => ({
  position: index + 1,
  role: random.pick(ROLES),
  content: random.pick(TEXTS),
  onBranch: random.chance(0.7),
  createdAt: new Date(START + random.integer(0, 20) * 60_000),
})).filter(() => random.chance(0.9));

const LIST = /* GraphQL */ `
  query Messages($id: ID!, $filter: MessageFilter, $branch: BranchView) {
    session(id: $id) { messages(first: 100, filter: $filter, branch: $branch) { totalCount nodes { position active role content } } }
  }
`;

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
  await storeSessions(app.databaseUrl, [storedSession({ id: SESSION }), storedSession({ id: OTHER, messages: ['only'] })]);
  await runSql(app.databaseUrl, 'update aria_engine.chat_sessions set compacted_through = $1 where id = $2', [COMPACTED_THROUGH, SESSION]);
  await runSql(
    app.databaseUrl,
    `insert into aria_engine.chat_messages (session_id, position, id, role, content, on_branch, created_at)
     select $1, m.* from unnest($2::bigint[], $3::uuid[], $4::aria_engine.message_role[], $5::text[], $6::boolean[], $7::timestamptz[]) m`,
    [
      SESSION,
      messages.map(message => message.position),
      messages.map(() => randomUUID()),
      messages.map(message => message.role),
      messages.map(message => message.content),
      messages.map(message => message.onBranch),
      messages.map(message => message.createdAt),
    ],
  );
});

interface MessagePage {
  readonly totalCount: number;
  readonly nodes: readonly { readonly position: number; readonly active: boolean; readonly role: string; readonly content: string }[];
}

async function list(filter?: MessageFilterInput | null, branch?: string | null): Promise<MessagePage> {
  const data = (await app.gql<{ session: { messages: MessagePage } }>(LIST, { id: SESSION, filter, branch })).expectOk();
  expect(data.session.messages.totalCount).toBe(data.session.messages.nodes.length);
  return data.session.messages;
}

const positions = async (filter?: MessageFilterInput | null, branch?: string | null) =>
  (await list(filter, branch)).nodes.map(node => node.position);

const isActive = (message: StoredMessage) => message.onBranch && message.position > COMPACTED_THROUGH;

/** The positions that the contract requires for the filter and branch. */
function expectedPositions(filter: MessageFilterInput, branch: string): number[] {
  const { roles, createdAt, afterPosition, search } = filter;
  return messages
    .filter(
      message =>
        (branch === 'ALL' || isActive(message)) &&
        (roles == null || roles.includes(message.role)) &&
        (createdAt?.from == null || message.createdAt >= new Date(createdAt.from)) &&
        (createdAt?.before == null || message.createdAt < new Date(createdAt.before)) &&
        (afterPosition == null || message.position > afterPosition) &&
        (search == null || message.content.toLowerCase().includes(search.toLowerCase())),
    )
    .map(message => message.position);
}

describe('Session.messages', () => {
  it('returns the active messages by position, or the messages of all branches with branch: ALL', async () => {
    const active = messages.filter(isActive).map(message => message.position);
    for (const branch of [undefined, null, 'ACTIVE']) expect(await positions(undefined, branch)).toEqual(active);
    const all = await list(null, 'ALL');
    expect(all.nodes).toEqual(
      messages.map(message => ({ position: message.position, active: isActive(message), role: message.role, content: message.content })),
    );
  });

  it('returns no messages of other sessions', async () => {
    const data = (await app.gql<{ session: { messages: MessagePage } }>(LIST, { id: OTHER, branch: 'ALL' })).expectOk();
    expect(data.session.messages.nodes.map(node => node.content)).toEqual(['only']);
  });

  it('applies each filter field', async () => {
    for (const branch of ['ACTIVE', 'ALL']) {
      for (const filter of [
        {},
        { roles: null, createdAt: null, afterPosition: null, search: null },
        { roles: [] },
        { roles: ['USER', 'TOOL'] },
        { createdAt: { from: '2026-01-01T00:05:00.000Z', before: '2026-01-01T00:10:00.000Z' } },
        { createdAt: {} },
        { afterPosition: 40 },
        { afterPosition: -1 },
        { afterPosition: Number.MAX_SAFE_INTEGER },
        { afterPosition: -Number.MAX_SAFE_INTEGER },
        ...TERMS.map(search => ({ search })),
      ]) {
        expect(await positions(filter, branch), JSON.stringify(filter)).toEqual(expectedPositions(filter, branch));
      }
    }
  });

  it('applies random combinations of filter fields like the reference implementation', async () => {
    const source = createRandomSource(2, 7);
    const instant = () => new Date(START + source.integer(0, 20) * 60_000).toISOString();
    for (let index = 0; index < 60; index += 1) {
      const filter: MessageFilterInput = {
        ...(source.chance(0.5) ? { roles: ROLES.filter(() => source.chance(0.5)) } : {}),
        ...(source.chance(0.5)
          ? { createdAt: { from: source.chance(0.5) ? instant() : null, before: source.chance(0.5) ? instant() : null } }
          : {}),
        ...(source.chance(0.3) ? { afterPosition: source.integer(0, 80) } : {}),
        ...(source.chance(0.4) ? { search: source.pick(TERMS) } : {}),
      };
      const branch = source.pick(['ACTIVE', 'ALL']);
      expect(await positions(filter, branch), JSON.stringify(filter)).toEqual(expectedPositions(filter, branch));
    }
  });

  it('returns BAD_USER_INPUT for a search with NUL or a lone surrogate', async () => {
    for (const search of ['\0', '\ud800']) (await app.gql(LIST, { id: SESSION, filter: { search } })).expectError('BAD_USER_INPUT');
  });
});

describe('Session.lastMessage', () => {
  it('returns the last active message, or null if there is none', async () => {
    const query = '{ sessions { nodes { sessionId lastMessage { position } } } }';
    const data = (
      await app.gql<{ sessions: { nodes: { sessionId: string; lastMessage: { position: number } | null }[] } }>(query)
    ).expectOk();
    const last = new Map(data.sessions.nodes.map(node => [node.sessionId, node.lastMessage?.position ?? null]));
    expect(last.get(SESSION)).toBe(messages.findLast(isActive)?.position);
    expect(last.get(OTHER)).toBe(1);
    await runSql(app.databaseUrl, 'update aria_engine.chat_sessions set compacted_through = 1 where id = $1', [OTHER]);
    expect((await app.gql(`{ session(id: "${OTHER}") { lastMessage { position } } }`)).expectOk()).toEqual({
      session: { lastMessage: null },
    });
  });
});
