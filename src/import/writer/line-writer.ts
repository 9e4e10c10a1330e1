import type { ClientBase } from 'pg';
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

const INSERT_LINES = `
insert into aria_engine.import_lines (session_id, line, entry_id, parent_entry_id, position, raw)
select $1, * from unnest($2::int[], $3::text[], $4::text[], $5::bigint[], $6::text[])`;

const INSERT_MESSAGES = `
insert into aria_engine.chat_messages (session_id, position, id, external_id, role, content, parts, model, provider, input_tokens,
  output_tokens, cache_read_tokens, cache_write_tokens, total_tokens, cost_nano_usd, stop_reason, metadata, parent_position, created_at)
select $1, m.position, m.id, m.external_id, m.role, m.content, m.parts::jsonb, m.model, m.provider, m.input, m.output, m.cache_read,
  m.cache_write, m.total, m.cost, m.stop_reason, m.metadata::jsonb, m.parent_position, m.created_at
from unnest($2::bigint[], $3::uuid[], $4::text[], $5::aria_engine.message_role[], $6::text[], $7::text[], $8::text[], $9::text[],
  $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::text[], $17::text[], $18::bigint[],
  $19::timestamptz[]) m(position, id, external_id, role, content, parts, model, provider, input, output, cache_read, cache_write, total,
  cost, stop_reason, metadata, parent_position, created_at)`;

const INSERT_EVENTS = `
insert into aria_engine.session_events (session_id, agent_id, type, payload)
select $1, $2, 'MESSAGE_ADDED', jsonb_build_object('messageId', m.id, 'position', m.position)
from unnest($3::uuid[], $4::bigint[]) m(id, position) order by m.position`;

/** Writes the lines and messages of one session in batches, inside the caller's transaction and under the session's lock. */
export class LineWriter {
  readonly #client: ClientBase;
  readonly #sessionId: string;
  readonly #announceTo: string | null;
  #lines: LineRow[] = [];
  #messages: MessageRow[] = [];
  #characters = 0;

  /** @param announceTo the session's agent, where each message gets its event; null for the first import of a session, which has one event alone */
  constructor(client: ClientBase, sessionId: string, announceTo: string | null) {
    this.#client = client;
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
    if (lines.length > 0) await this.#client.query(INSERT_LINES, [this.#sessionId, ...lineColumns(lines)]);
    if (messages.length === 0) return;
    await this.#client.query(INSERT_MESSAGES, [this.#sessionId, ...messageColumns(messages)]);
    if (this.#announceTo === null) return;
    await this.#client.query(INSERT_EVENTS, [
      this.#sessionId,
      this.#announceTo,
      messages.map(row => row.id),
      messages.map(row => row.position),
    ]);
  }
}

function lineColumns(rows: readonly LineRow[]): unknown[][] {
  return [
    rows.map(row => row.line),
    rows.map(row => row.entryId),
    rows.map(row => row.parentEntryId),
    rows.map(row => row.position),
    rows.map(row => row.raw),
  ];
}

function messageColumns(rows: readonly MessageRow[]): unknown[][] {
  const count = (value: bigint | undefined) => (value === undefined ? null : String(value));
  return [
    rows.map(row => row.position),
    rows.map(row => row.id),
    rows.map(row => row.externalId),
    rows.map(row => row.message.role),
    rows.map(row => row.message.content),
    rows.map(row => (row.message.parts === null ? null : JSON.stringify(row.message.parts))),
    rows.map(row => row.message.model),
    rows.map(row => row.message.provider),
    rows.map(row => count(row.message.usage?.inputTokens)),
    rows.map(row => count(row.message.usage?.outputTokens)),
    rows.map(row => count(row.message.usage?.cacheReadTokens)),
    rows.map(row => count(row.message.usage?.cacheWriteTokens)),
    rows.map(row => count(row.message.usage?.totalTokens)),
    rows.map(row => count(row.message.usage?.costNanoUsd)),
    rows.map(row => row.message.stopReason),
    rows.map(row => JSON.stringify(row.message.metadata)),
    rows.map(row => row.parentPosition),
    rows.map(row => row.createdAt.toISOString()),
  ];
}
