import { Prisma } from '../../generated/prisma/client.ts';
import type { UsageAmounts } from '../../modules/usage/usage.rules.ts';
import type { Executor, Sql } from '../../postgres/database.ts';
import type { SourceMessage } from '../source.ts';

/** A line as import_lines keeps it. */
export interface LineRow {
  readonly line: number;
  readonly entryId: string | null;
  readonly parentEntryId: string | null;
  readonly position: number | null;
  readonly raw: string;
}

/** A message with its place. */
export interface MessageRow {
  readonly id: string;
  readonly externalId: string;
  readonly position: number;
  readonly parentPosition: number | null;
  readonly createdAt: Date;
  readonly message: SourceMessage;
}

const BATCH_ROWS = 2_000;
/** Bounds what is in memory where lines are long. */
const BATCH_CHARACTERS = 4_000_000;

/** Writes the lines and messages of one session in batches, inside the caller's transaction and under the session's lock. */
export class LineWriter {
  readonly #executor: Executor;
  readonly #sessionId: string;
  readonly #announceTo: string | null;
  #lines: LineRow[] = [];
  #messages: MessageRow[] = [];
  #characters = 0;

  /** @param announceTo the session's agent, where each message gets its event; null for the first import of a session, which has one event alone */
  constructor(executor: Executor, sessionId: string, announceTo: string | null) {
    this.#executor = executor;
    this.#sessionId = sessionId;
    this.#announceTo = announceTo;
  }

  /** Takes a line and the message it is, if it is one. */
  async add(line: LineRow, message: MessageRow | null): Promise<void> {
    this.#lines.push(line);
    // A message is its line once more: what is in memory is about three times the raw text.
    this.#characters += line.raw.length;
    if (message !== null) this.#messages.push(message);
    if (this.#lines.length >= BATCH_ROWS || this.#characters >= BATCH_CHARACTERS) await this.flush();
  }

  /** Sends what has been taken and not yet sent. */
  async flush(): Promise<void> {
    const lines = this.#lines;
    const messages = this.#messages;
    this.#lines = [];
    this.#messages = [];
    this.#characters = 0;
    if (lines.length > 0) await this.#executor.rows(insertLines(this.#sessionId, lines));
    if (messages.length === 0) return;
    await this.#executor.rows(insertMessages(this.#sessionId, messages));
    if (this.#announceTo !== null) await this.#executor.rows(insertMessageEvents(this.#sessionId, this.#announceTo, messages));
  }
}

function insertLines(sessionId: string, rows: readonly LineRow[]): Sql {
  return Prisma.sql`
    insert into aria_engine.import_lines (session_id, line, entry_id, parent_entry_id, position, raw)
    select ${sessionId}::uuid, * from unnest(${rows.map(row => row.line)}::int[], ${rows.map(row => row.entryId)}::text[],
      ${rows.map(row => row.parentEntryId)}::text[], ${rows.map(row => row.position)}::bigint[], ${rows.map(row => row.raw)}::text[])`;
}

function insertMessages(sessionId: string, rows: readonly MessageRow[]): Sql {
  const values = rows.map(row => row.message);
  const count = (name: keyof UsageAmounts) => values.map(({ usage }) => (usage === null ? null : String(usage[name])));
  return Prisma.sql`
    insert into aria_engine.chat_messages (session_id, position, id, external_id, role, content, parts, model, provider, input_tokens,
      output_tokens, cache_read_tokens, cache_write_tokens, total_tokens, cost_nano_usd, stop_reason, metadata, parent_position, created_at)
    select ${sessionId}::uuid, m.position, m.id, m.external_id, m.role, m.content, m.parts::jsonb, m.model, m.provider, m.input, m.output,
      m.cache_read, m.cache_write, m.total, m.cost, m.stop_reason, m.metadata::jsonb, m.parent_position, m.created_at
    from unnest(${rows.map(row => row.position)}::bigint[], ${rows.map(row => row.id)}::uuid[], ${rows.map(row => row.externalId)}::text[],
      ${values.map(({ role }) => role)}::aria_engine.message_role[], ${values.map(({ content }) => content)}::text[],
      ${values.map(({ parts }) => (parts === null ? null : JSON.stringify(parts)))}::text[], ${values.map(({ model }) => model)}::text[],
      ${values.map(({ provider }) => provider)}::text[], ${count('inputTokens')}::bigint[], ${count('outputTokens')}::bigint[],
      ${count('cacheReadTokens')}::bigint[], ${count('cacheWriteTokens')}::bigint[], ${count('totalTokens')}::bigint[],
      ${count('costNanoUsd')}::bigint[], ${values.map(({ stopReason }) => stopReason)}::text[],
      ${values.map(({ metadata }) => JSON.stringify(metadata))}::text[], ${rows.map(row => row.parentPosition)}::bigint[],
      ${rows.map(row => row.createdAt.toISOString())}::timestamptz[]) m(position, id, external_id, role, content, parts, model, provider,
      input, output, cache_read, cache_write, total, cost, stop_reason, metadata, parent_position, created_at)`;
}

function insertMessageEvents(sessionId: string, agentId: string, rows: readonly MessageRow[]): Sql {
  return Prisma.sql`
    insert into aria_engine.session_events (session_id, agent_id, type, payload)
    select ${sessionId}::uuid, ${agentId}, 'MESSAGE_ADDED', jsonb_build_object('messageId', m.id, 'position', m.position)
    from unnest(${rows.map(row => row.id)}::uuid[], ${rows.map(row => row.position)}::bigint[]) m(id, position) order by m.position`;
}
