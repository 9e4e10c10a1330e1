import type { MessageRole } from '../generated/prisma/enums.ts';
import type { StoredPart } from '../modules/message/message.rules.ts';
import type { ACTIVITY_COLUMNS, SESSION_COLUMNS, SessionColumn } from '../modules/session/session.columns.ts';
import type { SessionStatus } from '../modules/session/session.rules.ts';
import type { UsageAmounts } from '../modules/usage/usage.rules.ts';
import type { FieldsWith, RowOf } from '../postgres/columns/columns.ts';

/** An object of JSON values. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Where sessions are imported from: an OpenClaw folder, another database. A source only reads, and knows nothing of our database. */
export interface ImportSource {
  /** Every session, once, in the order in which to write them: parents before their children. */
  sessions(): Iterable<SourceSession> | AsyncIterable<SourceSession>;
  /** UUIDs of all sessions for which the source states a key, including those that `sessions` has not returned yet. */
  readonly sessionsWithKey: ReadonlySet<string>;
}

/** One session of a source, ready to be written. */
export interface SourceSession {
  /** UUID. */
  readonly id: string;
  /** The system the session comes from, such as `openclaw`. */
  readonly system: string;
  /** The agent the session belongs to. */
  readonly agentId: string;
  /** The agent whose store or folder holds the session: part of the session's identity at the source. */
  readonly ownerAgentId: string;
  /** The session's id at the source. */
  readonly externalId: string;
  readonly fields: SourceFields;
  /** Null if the session has no parent, undefined if the source does not say. */
  readonly parent?: SourceParent | null;
  /** Used if the records have no times of their own. */
  readonly times: {
    readonly createdAt: Date | null;
    readonly startedAt: Date | null;
    readonly updatedAt: Date | null;
    readonly activeAt: Date | null;
  };
  /** Token counts for a session whose messages carry no usage. */
  readonly fallbackUsage: { readonly inputTokens: bigint; readonly outputTokens: bigint } | null;
  /** Null if the source has none for this session. */
  readonly records: SourceRecords | null;
}

type CopiedFields<Table extends Readonly<Record<keyof Table, SessionColumn>>> = Partial<
  RowOf<Table, Date, FieldsWith<Table, { readonly imported: 'copied' }>>
>;

/**
 * What a source says about a session. It has a field for each column that an import copies. If a field is left out, the import does not change
 * it; null means that it is empty at the source. The key is in canonical form. Postgres can store all texts, and names are within the limits of
 * the API: a source moves other values into `extra`.
 */
export interface SourceFields extends CopiedFields<typeof SESSION_COLUMNS>, CopiedFields<typeof ACTIVITY_COLUMNS> {
  readonly status?: SourceStatus;
  readonly compactionCount?: number;
  /** The typed settings, with canonical values. */
  readonly settings?: JsonObject;
  /** Everything else the source holds. */
  readonly extra?: JsonObject;
  /** Merged key by key; null removes a key. */
  readonly metadata?: JsonObject;
  /** True if `settings` and `extra` are complete: a name that they no longer contain was removed at the source. */
  readonly complete?: boolean;
}

/** A session's status at its source. A terminal status without `endedAt` ended with the session's last activity; other statuses have none. */
export interface SourceStatus {
  readonly status: SessionStatus;
  readonly reason: string | null;
  readonly endedAt: Date | null;
}

/** The parent that a source names. */
export interface SourceParent {
  /** In canonical form. */
  readonly key: string;
  /** UUID if the source holds the parent too. If null, the parent is looked up in our database by its key. */
  readonly id: string | null;
  /** If there is no such parent, `raw` is kept in `extra` under this name. */
  readonly extraName: string;
  /** The name as the source wrote it. */
  readonly raw: string;
}

/** The records of one session, such as the lines of its transcript. They can be read more than once. */
export interface SourceRecords {
  /** For reports: if the records are a file, its path below the imported folder. */
  readonly name: string;
  /** Reads from the first record on. */
  read(): RecordReader;
  /**
   * Continues at a position that an earlier reader returned.
   * @returns null if the records before that position are no longer the same: read them all again
   */
  resume(position: string): Promise<RecordReader | null>;
  /** Parses a record again from the text in its `raw`. */
  parse(raw: string, number: number): SourceRecord;
}

/** Reads the records of one session once, in order. */
export interface RecordReader {
  /** How many of the session's records come before the next one. */
  readonly recordsRead: number;
  /** Where to continue later, after the records read so far. Only the source understands this text. */
  readonly position: string;
  /** After the end: a last record that the source may still be writing. It does not count as read. Null if there is none. */
  readonly unfinished: SourceRecord | null;
  /** The next record, which still counts as unread; null at the end. */
  peek(): Promise<SourceRecord | null>;
  /** The next record; null at the end. */
  next(): Promise<SourceRecord | null>;
  /** Frees what the reader holds open, at the end or before it. */
  close(): Promise<void>;
}

/** One record, parsed on its own: its meaning depends on no other record. */
export interface SourceRecord {
  /** 1-based; in a file, the line. */
  readonly number: number;
  /** The record as text, as it can be stored. */
  readonly raw: string;
  /** Entries form a tree. Headers, blank records and malformed records are not part of it. */
  readonly kind: 'header' | 'entry' | 'blank' | 'malformed';
  readonly entryId: string | null;
  /** Null makes the entry a root. Undefined means that the record has no such field: the entry then follows the one before it. */
  readonly parentEntryId?: string | null;
  readonly createdAt: Date | null;
  readonly message: SourceMessage | null;
  readonly facts: RecordFacts;
  /** What the report says is wrong with the record, such as `malformed line`. */
  readonly problem: string | null;
  /** Number of characters that were replaced because the database cannot store them. */
  readonly replaced: number;
  /** Hash of the content without ids, to find an entry again after its file was rewritten. Null for records that are not entries. */
  readonly fingerprint: (() => string) | null;
}

/** What a record says about its session. */
export interface RecordFacts {
  readonly model?: string;
  readonly modelProvider?: string;
  readonly thinkingLevel?: string;
  readonly givenTitle?: string | null;
  readonly metadata?: JsonObject;
}

/** The message of a record. Its place in the tree is that of the record. */
export interface SourceMessage {
  readonly role: MessageRole;
  readonly content: string;
  /** Null if the only part is the text in `content`. */
  readonly parts: readonly StoredPart[] | null;
  readonly model: string | null;
  readonly provider: string | null;
  readonly usage: UsageAmounts | null;
  readonly stopReason: string | null;
  readonly metadata: JsonObject;
  /** If the message is a compaction: the first entry that it keeps in the active view. */
  readonly compaction: CompactionStart | null;
}

/** The first entry that a compaction keeps: its id, or its index among the entries. The header has index 0. */
export type CompactionStart = { readonly entryId: string } | { readonly entryIndex: number };
