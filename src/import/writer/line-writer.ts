import { Prisma } from '../../generated/prisma/client.ts';
import { MESSAGE_COLUMNS } from '../../modules/message/message.columns.ts';
import { arrayInsert } from '../../postgres/columns/column-sql.ts';
import { fieldsWith } from '../../postgres/columns/columns.ts';
import type { Executor, Sql } from '../../postgres/database.ts';
import type { SourceMessage } from '../source.ts';

/** A row of import_lines. */
export interface LineRow {
  readonly line: number;
  readonly entryId: string | null;
  readonly parentEntryId: string | null;
  /** Position of the line's message; null if the line is not a message. */
  readonly position: number | null;
  readonly raw: string;
}

/** A message and its place in the session. */
export interface ImportedMessage {
  readonly id: string;
  readonly externalId: string;
  readonly position: number;
  readonly parentPosition: number | null;
  readonly createdAt: Date;
  readonly message: SourceMessage;
}

const BATCH_ROWS = 2_000;
/** Limits the memory of a batch of long lines. */
const BATCH_CHARACTERS = 4_000_000;

const { names, arrays } = arrayInsert(MESSAGE_COLUMNS, fieldsWith(MESSAGE_COLUMNS, 'imported'));

/** Writes the lines and messages of one session in batches, in the caller's transaction and under the session's lock. */
export class LineWriter {
  readonly #executor: Executor;
  readonly #sessionId: string;
  readonly #eventAgentId: string | null;
  #lines: LineRow[] = [];
  #messages: ImportedMessage[] = [];
  #characters = 0;

  /** @param eventAgentId the session's agent, to write an event per message; null for a new session, whose only event is CREATED */
  constructor(executor: Executor, sessionId: string, eventAgentId: string | null) {
    this.#executor = executor;
    this.#sessionId = sessionId;
    this.#eventAgentId = eventAgentId;
  }

  /** Adds a line, and its message if it has one. Writes a batch when it is full. */
  async add(line: LineRow, message: ImportedMessage | null): Promise<void> {
    this.#lines.push(line);
    // The message holds the line's text again: a batch takes about three times the memory of its raw lines.
    this.#characters += line.raw.length;
    if (message !== null) this.#messages.push(message);
    if (this.#lines.length >= BATCH_ROWS || this.#characters >= BATCH_CHARACTERS) await this.flush();
  }

  /** Writes what has been added since the last batch. */
  async flush(): Promise<void> {
    const lines = this.#lines;
    const messages = this.#messages;
    this.#lines = [];
    this.#messages = [];
    this.#characters = 0;
    if (lines.length > 0) await this.#executor.rows(insertLines(this.#sessionId, lines));
    if (messages.length === 0) return;
    await this.#executor.rows(insertMessages(this.#sessionId, messages));
    if (this.#eventAgentId !== null) await this.#executor.rows(insertMessageEvents(this.#sessionId, this.#eventAgentId, messages));
  }
}

function insertLines(sessionId: string, rows: readonly LineRow[]): Sql {
  return Prisma.sql`
    insert into aria_engine.import_lines (session_id, line, entry_id, parent_entry_id, position, raw)
    select ${sessionId}::uuid, * from unnest(${rows.map(row => row.line)}::int[], ${rows.map(row => row.entryId)}::text[],
      ${rows.map(row => row.parentEntryId)}::text[], ${rows.map(row => row.position)}::bigint[], ${rows.map(row => row.raw)}::text[])`;
}

function insertMessages(sessionId: string, messages: readonly ImportedMessage[]): Sql {
  const rows = messages.map(({ message, ...place }) => ({ ...place, ...message, ...message.usage }));
  return Prisma.sql`
    insert into aria_engine.chat_messages (session_id, ${names}) select ${sessionId}::uuid, ${names} from unnest(${arrays(rows)}) message(${names})`;
}

function insertMessageEvents(sessionId: string, agentId: string, rows: readonly ImportedMessage[]): Sql {
  return Prisma.sql`
    insert into aria_engine.session_events (session_id, agent_id, type, payload)
    select ${sessionId}::uuid, ${agentId}, 'MESSAGE_ADDED', jsonb_build_object('messageId', m.id, 'position', m.position)
    from unnest(${rows.map(row => row.id)}::uuid[], ${rows.map(row => row.position)}::bigint[]) m(id, position) order by m.position`;
}
