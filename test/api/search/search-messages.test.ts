import { beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { runSql } from '../../support/sql.ts';

interface Hit {
  readonly cursor: string;
  readonly score: number | null;
  readonly snippet: string;
  readonly node: { readonly content: string; readonly role: string; readonly messageId: string };
}

interface SearchResponse {
  readonly searchMessages: {
    readonly edges: readonly Hit[];
    readonly pageInfo: { readonly hasNextPage: boolean; readonly hasPreviousPage: boolean; readonly endCursor: string | null };
    readonly totalCount: number;
  };
}

const SEARCH = `query Search($query: String!, $mode: SearchMode, $orderBy: SearchOrder, $sessions: SessionFilter, $roles: [MessageRole!],
    $createdAt: DateTimeRange, $branch: BranchView, $first: Int, $after: String) {
  searchMessages(query: $query, mode: $mode, orderBy: $orderBy, sessions: $sessions, roles: $roles, createdAt: $createdAt, branch: $branch,
    first: $first, after: $after) {
    edges { cursor score snippet node { messageId content role } }
    pageInfo { hasNextPage hasPreviousPage endCursor }
    totalCount
  }
}`;

let app: TestApp;

async function search(variables: Record<string, unknown>): Promise<SearchResponse['searchMessages']> {
  return (await app.gql<SearchResponse>(SEARCH, variables)).expectOk().searchMessages;
}

async function contents(variables: Record<string, unknown>): Promise<string[]> {
  return (await search(variables)).edges.map(edge => edge.node.content);
}

async function createSession(input: Record<string, unknown> = {}): Promise<string> {
  const created = await app.gql<{ createSession: { session: { sessionId: string } } }>(
    'mutation ($input: CreateSessionInput!) { createSession(input: $input) { session { sessionId } } }',
    { input },
  );
  return created.expectOk().createSession.session.sessionId;
}

async function append(sessionId: string, messages: readonly Record<string, unknown>[]): Promise<string[]> {
  const appended = await app.gql<{ appendMessages: { messages: { messageId: string }[] } }>(
    'mutation ($input: AppendMessagesInput!) { appendMessages(input: $input) { messages { messageId } } }',
    { input: { sessionId, messages } },
  );
  return appended.expectOk().appendMessages.messages.map(message => message.messageId);
}

beforeAll(async () => {
  app = await startTestApp();
});

describe('searchMessages in WORDS mode', () => {
  beforeAll(async () => {
    const session = await createSession({ title: 'words' });
    await append(session, [
      { role: 'USER', content: 'We baked a crusty loaf' },
      { role: 'ASSISTANT', content: 'A crusty loaf needs steam' },
      { role: 'SYSTEM', content: 'Every loaf is counted by the steam oven' },
      { role: 'TOOL', content: 'loaf_count: 3 crusty' },
    ]);
  });

  it('finds messages with every word of the query in any inflection, newest first', async () => {
    expect(await contents({ query: 'loaf' })).toEqual([
      'Every loaf is counted by the steam oven',
      'A crusty loaf needs steam',
      'We baked a crusty loaf',
    ]);
    expect(await contents({ query: 'loaf steam' })).toEqual(['Every loaf is counted by the steam oven', 'A crusty loaf needs steam']);
  });

  it('supports phrases, OR and exclusion with a minus sign', async () => {
    expect(await contents({ query: '"loaf needs"' })).toEqual(['A crusty loaf needs steam']);
    expect(await contents({ query: 'baking OR oven' })).toEqual(['Every loaf is counted by the steam oven', 'We baked a crusty loaf']);
    expect(await contents({ query: 'loaf -steam' })).toEqual(['We baked a crusty loaf']);
  });

  it('finds tool messages only if roles includes TOOL', async () => {
    expect(await contents({ query: 'crusty', roles: ['TOOL'] })).toEqual(['loaf_count: 3 crusty']);
    expect(await contents({ query: 'crusty' })).not.toContain('loaf_count: 3 crusty');
  });

  it('returns no results for a query of stop words', async () => {
    expect(await search({ query: 'the' })).toMatchObject({ edges: [], totalCount: 0 });
  });

  it('returns no score in NEWEST order and descending scores in RELEVANCE order', async () => {
    expect((await search({ query: 'crusty loaf' })).edges.map(edge => edge.score)).toEqual([null, null]);
    const scores = (await search({ query: 'crusty OR oven OR steam', orderBy: 'RELEVANCE' })).edges.map(edge => edge.score ?? 0);
    expect(scores).toHaveLength(3);
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
    expect(scores.every(score => score > 0)).toBe(true);
  });
});

describe('searchMessages in SUBSTRING mode', () => {
  beforeAll(async () => {
    const session = await createSession({ title: 'substring' });
    await append(session, [
      { role: 'USER', content: '100%_sure about C:\\temp' },
      { role: 'USER', content: '1000 surely about c:/temp' },
      { role: 'USER', content: 'ПРИВЕТ, мир' },
      { role: 'USER', content: '今天天气很好' },
      { role: 'USER', content: 'Η ΟΔΟΣ είναι μακρά' },
      { role: 'USER', content: 'ο ΟΔΥΣΣΕΥΣ γύρισε' },
      { role: 'USER', content: 'مرحبا بالعالم' },
      { role: 'USER', content: 'नमस्ते दुनिया' },
      { role: 'USER', content: 'party 🎉 time' },
    ]);
  });

  it.each([
    ['0%_s', '100%_sure about C:\\temp'],
    ['C:\\t', '100%_sure about C:\\temp'],
    ['привет', 'ПРИВЕТ, мир'],
    ['МИР', 'ПРИВЕТ, мир'],
    ['天气', '今天天气很好'],
    ['好', '今天天气很好'],
    ['οδος', 'Η ΟΔΟΣ είναι μακρά'],
    ['ΟΔΟ', 'Η ΟΔΟΣ είναι μακρά'],
    ['ΔΥΣ', 'ο ΟΔΥΣΣΕΥΣ γύρισε'],
    ['σσευσ', 'ο ΟΔΥΣΣΕΥΣ γύρισε'],
    ['بالعالم', 'مرحبا بالعالم'],
    ['दुनिया', 'नमस्ते दुनिया'],
    ['🎉', 'party 🎉 time'],
  ])('finds %s literally, ignoring case', async (term, content) => {
    const found = await search({ query: term, mode: 'SUBSTRING' });
    expect(found.edges.map(edge => edge.node.content)).toEqual([content]);
    expect(found.edges[0]?.snippet).toContain('<mark>');
    expect(found.totalCount).toBe(1);
  });

  it('orders by hits in relation to the length of the message in RELEVANCE order', async () => {
    const session = await createSession({ title: 'relevance' });
    await append(session, [
      { role: 'USER', content: 'zygote zygote zygote' },
      { role: 'USER', content: `zygote ${'and much more '.repeat(50)}` },
      { role: 'USER', content: 'a zygote' },
    ]);
    const found = await search({ query: 'ZYGOTE', mode: 'SUBSTRING', orderBy: 'RELEVANCE' });
    expect(found.edges.map(edge => edge.node.content.slice(0, 14))).toEqual(['zygote zygote ', 'a zygote', 'zygote and muc']);
  });
});

describe('SearchEdge.snippet', () => {
  it('is escaped HTML with hits in <mark> elements', async () => {
    const session = await createSession();
    await append(session, [{ role: 'USER', content: '<b>alert("xylophone")</b> & \'Xylophones\'' }]);
    const [words] = (await search({ query: 'xylophone' })).edges;
    expect(words?.snippet).toContain('<mark>xylophone</mark>');
    expect(words?.snippet).toContain('<mark>Xylophones</mark>');
    expect(words?.snippet.replaceAll(/<\/?mark>/g, '')).not.toMatch(/[<>"']/);
    const [substring] = (await search({ query: '"XYLO', mode: 'SUBSTRING' })).edges;
    expect(substring?.snippet).toBe('&lt;b&gt;alert(<mark>&quot;xylo</mark>phone&quot;)&lt;/b&gt; &amp; &#39;Xylophones&#39;');
  });

  it('shows the text around the first hit of a long message', async () => {
    const session = await createSession();
    await append(session, [{ role: 'USER', content: `${'before '.repeat(2_000)}wolverine${' behind'.repeat(2_000)}` }]);
    for (const mode of ['WORDS', 'SUBSTRING']) {
      const [hit] = (await search({ query: 'wolverine', mode })).edges;
      expect(hit?.snippet).toContain('<mark>wolverine</mark>');
      expect(hit?.snippet.length).toBeLessThan(600);
      expect(hit?.snippet).toMatch(/^….*…$/);
    }
  });

  it('has an ellipsis at each end that was cut, and only there', async () => {
    const session = await createSession();
    const filler = (word: string) => `${word} `.repeat(100);
    await append(session, [
      { role: 'USER', content: `armadillo both, ${filler('behind')}` },
      { role: 'USER', content: `${filler('before')} both (armadillo).` },
      { role: 'USER', content: `${filler('before')} armadillo ${filler('behind')}` },
      { role: 'USER', content: '"Every armadillo", <b>whole</b>!' },
    ]);
    for (const mode of ['WORDS', 'SUBSTRING']) {
      const snippets = (await search({ query: 'armadillo', mode })).edges.map(edge => edge.snippet.trim());
      expect(snippets.map(snippet => [snippet.startsWith('…'), snippet.endsWith('…')])).toEqual([
        [false, false],
        [true, true],
        [true, false],
        [false, true],
      ]);
    }
  });

  it('does not turn control characters of the message into <mark> elements', async () => {
    const session = await createSession();
    await append(session, [{ role: 'USER', content: 'platypus \u0001not\u0002 a hit' }]);
    const [hit] = (await search({ query: 'platypus' })).edges;
    expect(hit?.snippet.match(/<mark>/g)).toHaveLength(1);
  });
});

describe('the filters of searchMessages', () => {
  it('limit the sessions; trashed sessions are searched only with trashed: true', async () => {
    const kept = await createSession({ agentId: 'baker' });
    const trashed = await createSession({ agentId: 'miller' });
    await append(kept, [{ role: 'USER', content: 'marzipan kept' }]);
    await append(trashed, [{ role: 'USER', content: 'marzipan trashed' }]);
    await app.gql('mutation ($id: ID!) { deleteSession(input: { id: $id }) { deletedId } }', { id: trashed });
    expect(await contents({ query: 'marzipan' })).toEqual(['marzipan kept']);
    expect(await contents({ query: 'marzipan', sessions: { trashed: true } })).toEqual(['marzipan trashed']);
    expect(await contents({ query: 'marzipan', sessions: { agentId: { eq: 'miller' } } })).toEqual([]);
    expect(await contents({ query: 'marzipan', sessions: { agentId: { eq: 'baker' } } })).toEqual(['marzipan kept']);
  });

  it('limit the messages to the active branch unless branch is ALL', async () => {
    const session = await createSession();
    const [first] = await append(session, [
      { role: 'USER', content: 'nougat root' },
      { role: 'ASSISTANT', content: 'nougat abandoned' },
    ]);
    await append(session, [{ role: 'ASSISTANT', content: 'nougat current', parentId: first }]);
    expect(await contents({ query: 'nougat' })).toEqual(['nougat current', 'nougat root']);
    expect(await contents({ query: 'nougat', branch: 'ALL' })).toEqual(['nougat current', 'nougat abandoned', 'nougat root']);
  });

  it('limit createdAt to a range that includes from and excludes before', async () => {
    const session = await createSession();
    const at = (day: number) => `2026-03-0${day}T00:00:00.000Z`;
    await append(
      session,
      [1, 2, 3].map(day => ({ role: 'USER', content: `praline ${day}`, createdAt: at(day) })),
    );
    expect(await contents({ query: 'praline', createdAt: { from: at(2), before: at(3) } })).toEqual(['praline 2']);
    expect(await contents({ query: 'praline', createdAt: { from: at(2) } })).toEqual(['praline 3', 'praline 2']);
  });
});

describe('pages of searchMessages', () => {
  const COUNT = 4_000;

  // Rare and frequent words use different query plans. Every 2nd message contains `everywhere`, every 97th `scattered`, the oldest 30 `ancient`.
  beforeAll(async () => {
    const session = await createSession({ title: 'many' });
    await runSql(
      app.databaseUrl,
      `insert into aria_engine.chat_messages (session_id, position, id, role, content, created_at)
       select $1::uuid, n, gen_random_uuid(), 'USER', concat_ws(' ', 'message', n,
         case when n % 2 = 0 then 'everywhere' end, case when n % 97 = 0 then 'scattered' end, case when n <= 30 then 'ancient' end),
         timestamptz '2026-05-01' + (n / 3) * interval '1 minute'
       from generate_series(1, ${COUNT}) n`,
      [session],
    );
  });

  async function walk(variables: Record<string, unknown>): Promise<Hit[]> {
    const hits: Hit[] = [];
    let after: string | null = null;
    do {
      const page: SearchResponse['searchMessages'] = await search({ ...variables, after });
      hits.push(...page.edges);
      expect(page.pageInfo.hasPreviousPage).toBe(after !== null);
      after = page.pageInfo.hasNextPage ? page.pageInfo.endCursor : null;
    } while (after !== null);
    return hits;
  }

  it.each([
    { query: 'everywhere', first: 100, expected: COUNT / 2 },
    { query: 'scattered', first: 7, expected: Math.floor(COUNT / 97) },
    { query: 'ancient', first: 7, expected: 30 },
    { query: 'scattered', mode: 'SUBSTRING', first: 20, expected: Math.floor(COUNT / 97) },
    { query: 'scattered', orderBy: 'RELEVANCE', first: 7, expected: Math.floor(COUNT / 97) },
    { query: 'scattered', orderBy: 'RELEVANCE', mode: 'SUBSTRING', first: 7, expected: Math.floor(COUNT / 97) },
  ])('contain every hit of $query once (mode $mode, order $orderBy, $first per page)', async ({ expected, ...variables }) => {
    const hits = await walk(variables);
    expect(new Set(hits.map(hit => hit.node.messageId)).size).toBe(expected);
    expect(hits).toHaveLength(expected);
    expect(hits.every(hit => hit.node.content.includes(variables.query))).toBe(true);
  });

  it('are ordered by createdAt, then by id', async () => {
    const found = await walk({ query: 'everywhere', first: 100 });
    const ordered = await runSql<{ id: string }>(
      app.databaseUrl,
      `select id from aria_engine.chat_messages where content like '%everywhere%' order by created_at desc, id desc`,
    );
    expect(found.map(hit => hit.node.messageId)).toEqual(ordered.map(row => row.id));
  });

  it('cap totalCount at 1,000 and count only if totalCount is selected', async () => {
    expect((await search({ query: 'everywhere' })).totalCount).toBe(1_000);
    expect((await search({ query: 'ancient' })).totalCount).toBe(30);
    const answer = await app.gql('{ searchMessages(query: "everywhere") { nodes { content } } }');
    expect(answer.sql).toHaveLength(1);
  });

  it('continue after a cursor whose message was deleted', async () => {
    const page = await search({ query: 'ancient', first: 5 });
    const rest = (await walk({ query: 'ancient', first: 30 })).slice(5);
    await runSql(app.databaseUrl, 'delete from aria_engine.chat_messages where id = $1', [page.edges[4]?.node.messageId]);
    const next = await search({ query: 'ancient', first: 30, after: page.pageInfo.endCursor });
    expect(next.edges.map(edge => edge.node.messageId)).toEqual(rest.map(hit => hit.node.messageId));
  });

  it('return BAD_CURSOR for the cursor of another search', async () => {
    const { pageInfo } = await search({ query: 'everywhere', first: 1 });
    for (const other of [
      { query: 'scattered' },
      { query: 'everywhere', mode: 'SUBSTRING' },
      { query: 'everywhere', orderBy: 'RELEVANCE' },
    ]) {
      (await app.gql(SEARCH, { ...other, after: pageInfo.endCursor })).expectError('BAD_CURSOR');
    }
  });
});

describe('searchMessages with invalid arguments', () => {
  it('names the invalid field of the session filter by its path from the argument sessions', async () => {
    const error = (await app.gql(SEARCH, { query: 'x', sessions: { metadata: [1] } })).expectError('BAD_USER_INPUT');
    expect(error.extensions.details).toEqual({ field: 'sessions.metadata' });
  });

  it.each([
    [{ query: '  ' }, 'BAD_USER_INPUT'],
    [{ query: 'x'.repeat(1_001) }, 'BAD_USER_INPUT'],
    [{ query: 'a\u0000b' }, 'BAD_USER_INPUT'],
    [{ query: 'x', first: 101 }, 'PAGE_SIZE_TOO_LARGE'],
    [{ query: 'x', first: -1 }, 'BAD_USER_INPUT'],
    [{ query: 'x', after: 'nonsense' }, 'BAD_CURSOR'],
  ] as const)('given %j, returns %s', async (variables, code) => {
    (await app.gql(SEARCH, variables)).expectError(code);
  });
});

describe('searchMessages with first: 0', () => {
  it('returns an empty page with totalCount', async () => {
    expect(await search({ query: 'loaf', first: 0 })).toMatchObject({ edges: [], totalCount: 3 });
  });
});
