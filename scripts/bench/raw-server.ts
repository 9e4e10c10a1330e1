/**
 * The baseline: serves the workloads with node:http, prepared statements and hand-written JSON. It has no validation, no resolvers
 * and no authentication. So it shows the most that one process with this stack can do.
 */
import { createServer, type IncomingMessage } from 'node:http';
import pg from 'pg';
import { v7 as uuidV7 } from 'uuid';
import { messageGlobalId, sessionGlobalId } from '../../src/global-id.ts';
import { toClientConfig } from '../../src/postgres/connection-url.ts';
import { serveParent } from './child-server.ts';

type Handler = (pool: pg.Pool, body: Readonly<Record<string, string>>) => Promise<string>;

interface SessionColumns {
  readonly id: string;
  readonly title: string;
  readonly status: string;
  readonly kind: string;
  readonly agent_id: string;
  readonly message_count: number;
  readonly last_activity_at: string;
}

interface MessageColumns {
  readonly session_id: string;
  readonly title: string;
  readonly id: string | null;
  readonly position: string;
  readonly role: string;
  readonly content: string;
  readonly created_at: string;
}

const PAGE = 20;
const LAST_MESSAGES = 10;
const MESSAGES = 50;

const PAGE_BEHIND = `select a.session_id as id, a.last_activity_at, a.message_count from aria_engine.chat_session_activity a
  where a.listed and (a.last_activity_at, a.session_id) < ($1::timestamptz, $2::uuid) order by a.last_activity_at desc, a.session_id desc`;

const MESSAGES_OF = `select p.position::text, p.id, p.role, p.content, p.created_at::text from aria_engine.chat_messages p
  where p.session_id = s.id and p.on_branch and p.position > s.compacted_through order by p.position`;

const HANDLERS: Readonly<Record<string, Handler>> = {
  '/typename': async () => '{"data":{"__typename":"Query"}}',

  '/session': async (pool, { id }) => {
    const [row] = await rows<SessionColumns>(pool, {
      name: 'session',
      text: `select s.id, s.title, s.status, s.agent_id, a.message_count from aria_engine.chat_sessions s
        join aria_engine.chat_session_activity a on a.session_id = s.id where s.id = $1`,
      values: [id],
    });
    if (row === undefined) return '{"data":{"session":null}}';
    return `{"data":{"session":{"id":"${sessionGlobalId(row.id)}","title":${JSON.stringify(row.title)},"status":"${row.status}","agentId":${JSON.stringify(row.agent_id)},"messageCount":${row.message_count}}}}`;
  },

  '/sessions': async (pool, { at, id }) => {
    const page = await rows<SessionColumns>(pool, {
      name: 'sessions',
      text: `select page.id, page.last_activity_at::text, page.message_count, s.title, s.status, s.kind, s.agent_id
        from (${PAGE_BEHIND} limit ${PAGE + 1}) page join aria_engine.chat_sessions s on s.id = page.id
        order by page.last_activity_at desc, page.id desc`,
      values: [at, id],
    });
    const nodes = page
      .slice(0, PAGE)
      .map(
        row =>
          `{"id":"${sessionGlobalId(row.id)}","title":${JSON.stringify(row.title)},"status":"${row.status}","kind":"${row.kind}","agentId":${JSON.stringify(row.agent_id)},"messageCount":${row.message_count},"lastActivityAt":"${instant(row.last_activity_at)}"}`,
      );
    return `{"data":{"sessions":{"nodes":[${nodes}],"pageInfo":{"hasNextPage":${page.length > PAGE}}}}}`;
  },

  '/sessions-with-messages': async (pool, { at, id }) => {
    const found = await rows<MessageColumns>(pool, {
      name: 'sessions-with-messages',
      text: `select s.id as session_id, s.title, m.*
        from (${PAGE_BEHIND} limit ${PAGE}) page join aria_engine.chat_sessions s on s.id = page.id
        left join lateral (${MESSAGES_OF} limit ${LAST_MESSAGES}) m on true
        order by page.last_activity_at desc, page.id desc, m.position::bigint`,
      values: [at, id],
    });
    return `{"data":{"sessions":{"nodes":[${sessionsWithMessages(found, LAST_MESSAGES)}]}}}`;
  },

  '/session-with-messages': async (pool, { id }) => {
    const found = await rows<MessageColumns>(pool, {
      name: 'session-with-messages',
      text: `select s.id as session_id, s.title, m.* from aria_engine.chat_sessions s
        left join lateral (${MESSAGES_OF} limit ${MESSAGES}) m on true where s.id = $1 order by m.position::bigint`,
      values: [id],
    });
    return `{"data":{"session":${sessionsWithMessages(found, MESSAGES)[0] ?? null}}}`;
  },

  '/search': async (pool, { query, mode }) => {
    const condition =
      mode === 'WORDS'
        ? "m.words @@ websearch_to_tsquery('english', $1)"
        : `translate(lower(m.content collate "und-x-icu"), 'ς', 'σ') like '%' || translate(lower($1 collate "und-x-icu"), 'ς', 'σ') || '%'`;
    // No name, so Postgres plans for this term: rare and common terms need different plans.
    const found = await rows<MessageColumns>(pool, {
      text: `select m.id, m.session_id, m.position::text, m.created_at::text
        from aria_engine.chat_messages m join aria_engine.chat_sessions s on s.id = m.session_id
        where ${condition} and m.role in ('USER', 'ASSISTANT', 'SYSTEM') and m.on_branch and m.position > s.compacted_through
          and s.deleted_at is null and s.superseded_at is null
        order by m.created_at desc, m.id desc limit ${PAGE}`,
      values: [query],
    });
    const nodes = found.map(row => `{"messageId":"${row.id}","position":${row.position},"createdAt":"${instant(row.created_at)}"}`);
    return `{"data":{"searchMessages":{"nodes":[${nodes}]}}}`;
  },

  '/append': async (pool, { sessionId, content }) => {
    const [row] = await rows<MessageColumns>(pool, {
      name: 'append',
      // Locks the session first. The position comes from the update, which sees the position that the previous append wrote.
      text: `with locked as (
          select s.id, s.agent_id from aria_engine.chat_sessions s
          where s.id = $1 and s.deleted_at is null and s.status in ('ACTIVE', 'WORKING') for no key update
        ), moved as (
          update aria_engine.chat_session_activity a
          set next_position = a.next_position + 1, leaf_position = a.next_position, message_count = a.message_count + 1,
            last_activity_at = now(), last_message_at = now(), updated_at = now()
          from locked where a.session_id = locked.id returning a.session_id, a.agent_id, a.leaf_position as position
        ), added as (
          insert into aria_engine.chat_messages (session_id, position, id, role, content, parent_position)
          select session_id, position, $2, 'USER', $3, nullif(position - 1, 0) from moved returning id, session_id, position, created_at
        ), event as (
          insert into aria_engine.session_events (session_id, agent_id, type, payload)
          select session_id, agent_id, 'MESSAGE_ADDED', jsonb_build_object('messageId', $2::text, 'position', position) from moved
        )
        select id, session_id, position::text, created_at::text from added`,
      values: [sessionId, uuidV7(), content],
    });
    if (row?.id == null) return '{"errors":[{"message":"There is no such open session."}]}';
    return `{"data":{"appendMessage":{"message":{"id":"${messageGlobalId(row.session_id, row.id)}","position":${row.position},"createdAt":"${instant(row.created_at)}"}}}}`;
  },
};

async function rows<Row extends pg.QueryResultRow>(pool: pg.Pool, query: pg.QueryConfig): Promise<Row[]> {
  return (await pool.query<Row>(query)).rows;
}

/** The JSON of each session. Rows of one session are adjacent; a session without messages has one row with nulls. */
function sessionsWithMessages(found: readonly MessageColumns[], limit: number): string[] {
  const sessions: { head: string; messages: string[] }[] = [];
  let current = '';
  for (const row of found) {
    if (row.session_id !== current) {
      current = row.session_id;
      sessions.push({ head: `{"id":"${sessionGlobalId(row.session_id)}","title":${JSON.stringify(row.title)}`, messages: [] });
    }
    if (row.id === null) continue;
    sessions
      .at(-1)
      ?.messages.push(
        `{"id":"${messageGlobalId(row.session_id, row.id)}","position":${row.position},"role":"${row.role}","content":${JSON.stringify(row.content)},"createdAt":"${instant(row.created_at)}"}`,
      );
  }
  return sessions.map(({ head, messages }) => `${head},"messages":{"nodes":[${messages.slice(0, limit)}]}}`);
}

/** Converts Postgres' text of an instant in UTC to RFC 3339. Postgres omits trailing zeros of the fraction. */
function instant(text: string): string {
  return `${text.slice(0, 10)}T${text.slice(11, 19)}.${text.slice(20, text.length - 3).padEnd(3, '0')}Z`;
}

async function readJson(request: IncomingMessage): Promise<Record<string, string>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

serveParent(async ({ databaseUrl, poolSize }) => {
  const pool = new pg.Pool({ ...toClientConfig(databaseUrl), max: poolSize });
  const server = createServer(async (request, response) => {
    try {
      const handle = HANDLERS[request.url ?? ''];
      const body =
        handle === undefined ? '{"errors":[{"message":"There is no such workload."}]}' : await handle(pool, await readJson(request));
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body);
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    async close() {
      server.closeAllConnections();
      server.close();
      await pool.end();
    },
  };
});
