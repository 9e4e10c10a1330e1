import type { ClientBase } from 'pg';
import type { EventPayload, EventType } from '../../src/events/event-types.ts';
import { type KeyRules, sessionKind } from '../../src/modules/session-key/session-key.rules.ts';
import type { SeedSession } from './session-generator.ts';

type SeedClient = Pick<ClientBase, 'query'>;

/** The result of a seed run. */
export interface SeedReport {
  readonly sessions: number;
  readonly messages: number;
  /** Sessions that were not written because they exist already or were permanently deleted. */
  readonly skipped: number;
  /** Sessions that lost their key or label because another session of the agent holds it. */
  readonly namesDropped: number;
}

/** Receives the totals so far after each transaction. */
type SeedProgress = (report: SeedReport) => void;

/** These limits keep transactions short. A session with more messages is written in one transaction all the same. */
const SESSIONS_PER_TRANSACTION = 200;
const MESSAGES_PER_TRANSACTION = 10_000;
const MESSAGES_PER_STATEMENT = 2_000;

/**
 * Writes generated sessions with their activity, their messages and one CREATED event each.
 * Sessions that exist already are not changed, permanently deleted ones are not written again. A session loses a key or label
 * that another session of the agent holds. After an interruption every session is complete; the next run writes the missing ones.
 * @param client a dedicated connection without an open transaction
 * @param sessions parents before their children
 */
export async function writeSessions(
  client: SeedClient,
  sessions: Iterable<SeedSession>,
  keys: KeyRules,
  onProgress: SeedProgress = () => undefined,
): Promise<SeedReport> {
  let report: SeedReport = { sessions: 0, messages: 0, skipped: 0, namesDropped: 0 };
  const removed = new Set<string>();
  for (const batch of batches(sessions)) {
    const written = await inTransaction(client, () => writeBatch(client, batch, keys, removed));
    report = {
      sessions: report.sessions + written.sessions,
      messages: report.messages + written.messages,
      skipped: report.skipped + written.skipped,
      namesDropped: report.namesDropped + written.namesDropped,
    };
    onProgress(report);
  }
  // Until autovacuum runs, the planner would plan as if the tables were still empty.
  if (report.sessions > 0)
    await client.query('analyze aria_engine.chat_sessions, aria_engine.chat_session_activity, aria_engine.chat_messages');
  return report;
}

/** Whether the database has any of these sessions, or had it before it was permanently deleted. */
export async function hasAnyOf(client: SeedClient, sessions: readonly SeedSession[]): Promise<boolean> {
  const { existing, removed } = await findKnown(client, sessions);
  return existing.size + removed.size > 0;
}

function* batches(sessions: Iterable<SeedSession>): Generator<readonly SeedSession[]> {
  let batch: SeedSession[] = [];
  let messages = 0;
  for (const session of sessions) {
    if (batch.length > 0 && (batch.length === SESSIONS_PER_TRANSACTION || messages + session.messages.length > MESSAGES_PER_TRANSACTION)) {
      yield batch;
      batch = [];
      messages = 0;
    }
    batch.push(session);
    messages += session.messages.length;
  }
  if (batch.length > 0) yield batch;
}

async function inTransaction<Result>(client: SeedClient, work: () => Promise<Result>): Promise<Result> {
  await client.query('begin');
  try {
    const result = await work();
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

function createdPayload(parentId: string | null): EventPayload<'CREATED'> {
  return parentId === null ? {} : { parentId };
}

/** @param removed ids of permanently deleted sessions found so far: their children become roots. Ids found in this batch are added. */
async function writeBatch(client: SeedClient, batch: readonly SeedSession[], keys: KeyRules, removed: Set<string>): Promise<SeedReport> {
  const known = await findKnown(client, batch);
  for (const id of known.removed) removed.add(id);
  const fresh = batch.filter(({ session }) => !known.existing.has(session.id) && !known.removed.has(session.id));
  const taken = await findTaken(client, fresh);

  let namesDropped = 0;
  const rows = fresh.map(({ session }) => {
    const isCurrent = session.deletedAt === null && session.supersededAt === null;
    const dropKey = isCurrent && session.key !== null && taken.keys.has(nameOf(session.agentId, session.key));
    const dropLabel = isCurrent && session.label !== null && taken.labels.has(nameOf(session.agentId, session.label));
    if (dropKey || dropLabel) namesDropped += 1;
    return {
      ...session,
      key: dropKey ? null : session.key,
      kind: dropKey ? sessionKind(null, null, keys) : session.kind,
      label: dropLabel ? null : session.label,
      parentId: session.parentId !== null && removed.has(session.parentId) ? null : session.parentId,
    };
  });
  const messages = fresh.flatMap(session => session.messages);

  await insertRows(client, 'chat_sessions', rows);
  await insertRows(
    client,
    'chat_session_activity',
    fresh.map(({ activity }) => activity),
  );
  for (let from = 0; from < messages.length; from += MESSAGES_PER_STATEMENT) {
    await insertRows(client, 'chat_messages', messages.slice(from, from + MESSAGES_PER_STATEMENT));
  }
  await insertRows(
    client,
    'session_events',
    rows.map(row => ({
      sessionId: row.id,
      agentId: row.agentId,
      type: 'CREATED' satisfies EventType,
      payload: createdPayload(row.parentId),
    })),
  );
  return { sessions: fresh.length, messages: messages.length, skipped: batch.length - fresh.length, namesDropped };
}

/** The ids of these sessions that exist, and the ones that were permanently deleted. */
async function findKnown(client: SeedClient, batch: readonly SeedSession[]) {
  const { rows } = await client.query<{ id: string; removed: boolean }>(
    `select id, false as removed from aria_engine.chat_sessions where id = any($1::uuid[])
     union all
     select session_id, true from aria_engine.session_tombstones where session_id = any($1::uuid[])`,
    [batch.map(({ session }) => session.id)],
  );
  const idsOf = (removed: boolean) => new Set(rows.filter(row => row.removed === removed).map(row => row.id));
  return { existing: idsOf(false), removed: idsOf(true) };
}

/** The keys and labels of these sessions that current sessions in the database hold. */
async function findTaken(client: SeedClient, sessions: readonly SeedSession[]) {
  const agents = sessions.map(({ session }) => session.agentId);
  const held = async (column: 'key' | 'label') => {
    const { rows } = await client.query<{ agent_id: string; name: string }>(
      `select s.agent_id, s.${column} as name
       from unnest($1::text[], $2::text[]) as wanted(agent_id, name)
       join aria_engine.chat_sessions s on s.agent_id = wanted.agent_id and s.${column} = wanted.name
       where s.deleted_at is null and s.superseded_at is null`,
      [agents, sessions.map(({ session }) => session[column])],
    );
    return new Set(rows.map(row => nameOf(row.agent_id, row.name)));
  };
  return { keys: await held('key'), labels: await held('label') };
}

function nameOf(agentId: string, name: string): string {
  return `${agentId} ${name}`;
}

/** Inserts rows whose fields are the table's columns in camel case. Missing columns get their defaults. */
async function insertRows(client: SeedClient, table: string, rows: readonly Readonly<Record<string, unknown>>[]): Promise<void> {
  const [first] = rows;
  if (first === undefined) return;
  const names = Object.keys(first).map(field => [field, field.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)] as const);
  const columns = names.map(([, column]) => `"${column}"`).join(', ');
  const json = JSON.stringify(
    rows.map(row => Object.fromEntries(names.map(([field, column]) => [column, row[field]]))),
    (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
  );
  await client.query(
    `insert into aria_engine.${table} (${columns}) select ${columns} from json_populate_recordset(null::aria_engine.${table}, $1)`,
    [json],
  );
}
