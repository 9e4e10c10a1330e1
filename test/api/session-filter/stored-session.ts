import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { SESSION_COLUMNS } from '../../../src/modules/session/session.columns.ts';
import { type FieldsWith, fieldsWith, type RowOf } from '../../../src/postgres/columns/columns.ts';
import { runSql } from '../../support/sql.ts';

type Table = typeof SESSION_COLUMNS;
type FilteredField = FieldsWith<Table, { readonly filter: true }>;

/** A text column of a session by which SessionFilter filters, and that may be null. */
type NullableText = FieldsWith<Table, { readonly type: 'text'; readonly nullable: true; readonly filter: true }>;

const isNullableText = (field: FilteredField): field is NullableText =>
  SESSION_COLUMNS[field].type === 'text' && 'nullable' in SESSION_COLUMNS[field];

/** The nullable text columns of a session by which SessionFilter filters. */
export const NULLABLE_TEXTS: readonly NullableText[] = fieldsWith(SESSION_COLUMNS, 'filter', true).filter(isNullableText);

/** A session row with the columns that lists filter and order by. `title` is stored as the given title, which messages do not change. */
export interface StoredSession extends RowOf<Table, Date, Exclude<FilteredField, NullableText>>, Partial<RowOf<Table, Date, NullableText>> {
  readonly id: string;
  readonly agentId: string;
  readonly displayName: string | null;
  readonly subject: string | null;
  readonly tags: readonly string[];
  readonly task: string | null;
  readonly parentId: string | null;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly updatedAt: Date;
  readonly lastActivityAt: Date;
  readonly archivedAt: Date | null;
  readonly pinnedAt: Date | null;
  readonly supersededAt: Date | null;
  readonly deletedAt: Date | null;
  readonly totalTokens: number;
  /** The contents of its messages in order. All are active. */
  readonly messages: readonly string[];
}

/** Builds a session of the agent `main` with default values, except for the given changes. */
export function storedSession(changes: Partial<StoredSession> = {}): StoredSession {
  const at = changes.createdAt ?? new Date('2026-01-01T00:00:00.000Z');
  return {
    ...nullTexts(),
    id: randomUUID(),
    agentId: 'main',
    kind: 'OTHER',
    type: 'chat',
    status: 'ACTIVE',
    title: 'Untitled',
    displayName: null,
    subject: null,
    tags: [],
    priority: 'NORMAL',
    task: null,
    parentId: null,
    metadata: {},
    createdAt: at,
    startedAt: at,
    updatedAt: at,
    lastActivityAt: at,
    endedAt: null,
    archivedAt: null,
    pinnedAt: null,
    supersededAt: null,
    deletedAt: null,
    totalTokens: 0,
    messages: [],
    ...changes,
  };
}

function nullTexts(): Partial<Record<NullableText, null>> {
  return Object.fromEntries(NULLABLE_TEXTS.map(field => [field, null]));
}

/** Inserts sessions with their activity and messages directly into the database, in one transaction. Parents must precede their children. */
export async function storeSessions(url: string, sessions: readonly StoredSession[]): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    await client.query('begin');
    await insert(
      client,
      'chat_sessions',
      sessions.map(({ updatedAt, lastActivityAt, totalTokens, messages, ...session }) => ({ ...session, givenTitle: session.title })),
    );
    await insert(
      client,
      'chat_session_activity',
      sessions.map(({ id, agentId, supersededAt, deletedAt, updatedAt, lastActivityAt, totalTokens, messages }) => ({
        sessionId: id,
        agentId,
        listed: supersededAt === null && deletedAt === null,
        updatedAt,
        lastActivityAt,
        lastMessageAt: messages.length === 0 ? null : lastActivityAt,
        messageCount: messages.length,
        nextPosition: messages.length + 1,
        leafPosition: messages.length === 0 ? null : messages.length,
        totalTokens,
      })),
    );
    const messages = sessions.flatMap(session =>
      session.messages.map((content, index) => ({
        sessionId: session.id,
        position: index + 1,
        id: randomUUID(),
        role: index % 2 === 0 ? 'USER' : 'ASSISTANT',
        content,
        parentPosition: index === 0 ? null : index,
        createdAt: new Date(session.createdAt.getTime() + index * 1_000),
      })),
    );
    await insert(client, 'chat_messages', messages);
    await client.query('commit');
  } finally {
    await client.end();
  }
}

/** Deletes all sessions and messages directly in the database. */
export async function clearSessions(url: string): Promise<void> {
  await runSql(url, 'truncate aria_engine.chat_sessions, aria_engine.chat_session_activity, aria_engine.chat_messages');
}

async function insert(client: pg.Client, table: string, rows: readonly object[]): Promise<void> {
  const [first] = rows;
  if (first === undefined) return;
  const toSnakeCase = (name: string) => name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);
  const columns = Object.keys(first).map(toSnakeCase).join(', ');
  const json = JSON.stringify(rows.map(row => Object.fromEntries(Object.entries(row).map(([name, value]) => [toSnakeCase(name), value]))));
  await client.query(
    `insert into aria_engine.${table} (${columns}) select ${columns} from json_populate_recordset(null::aria_engine.${table}, $1)`,
    [json],
  );
}
