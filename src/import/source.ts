import type { MessageRole } from '../generated/prisma/enums.ts';
import type { StoredPart } from '../modules/message/message.rules.ts';
import type { SessionStatus } from '../modules/session/session.rules.ts';
import type { UsageAmounts } from '../modules/usage/usage.rules.ts';
import type { FileLine } from './lines/line-reader.ts';

/** An object of JSON values. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** How a session stands at its source; a terminal one without `endedAt` ended with its last activity, an open one has none. */
export interface SourceStatus {
  readonly status: SessionStatus;
  readonly reason: string | null;
  readonly endedAt: Date | null;
}

/**
 * What a source says of a session. A field left out is not spoken of, and left alone; null says that it is empty there.
 * Texts are storable, names within the limits of the API: a reader moves what is not into `extra`.
 */
export interface SourceFields {
  /** Canonical. */
  readonly key?: string | null;
  readonly label?: string | null;
  readonly givenTitle?: string | null;
  readonly displayName?: string | null;
  readonly subject?: string | null;
  readonly category?: string | null;
  readonly channel?: string | null;
  readonly model?: string | null;
  readonly modelProvider?: string | null;
  readonly status?: SourceStatus;
  readonly archivedAt?: Date | null;
  readonly pinnedAt?: Date | null;
  readonly origin?: JsonObject | null;
  readonly delivery?: JsonObject | null;
  readonly compactionCount?: number;
  readonly contextUsed?: number | null;
  /** The typed settings, canonical. */
  readonly settings?: JsonObject;
  /** All else a store holds. */
  readonly extra?: JsonObject;
  /** Merged key by key; null removes a key. */
  readonly metadata?: JsonObject;
  /** True where `settings` and `extra` are all there is: what they do not name is gone from the source. */
  readonly complete?: boolean;
}

/** The parent a source names. */
export interface SourceParent {
  /** Canonical key. */
  readonly key: string;
  /** UUID, where this source holds the parent too; else it is looked for here by its key. */
  readonly id: string | null;
  /** Where the name goes in `extra` if there is no such parent. */
  readonly extraName: string;
  /** As the source wrote it. */
  readonly raw: string;
}

/** One session of a source, ready to be written. */
export interface SourceSession {
  /** UUID. */
  readonly id: string;
  /** The system it comes from, such as `openclaw`. */
  readonly system: string;
  /** The agent it belongs to. */
  readonly agentId: string;
  /** The agent whose store or folder it lies in: part of its identity at the source. */
  readonly ownerAgentId: string;
  /** Its id at the source. */
  readonly externalId: string;
  readonly fields: SourceFields;
  /** What it was spawned by; null where by nothing, undefined where the source does not say. */
  readonly parent?: SourceParent | null;
  /** What the source says of the times; used where the transcript does not tell. */
  readonly times: {
    readonly createdAt: Date | null;
    readonly startedAt: Date | null;
    readonly updatedAt: Date | null;
    readonly activeAt: Date | null;
  };
  /** Counts for a session whose messages carry no usage. */
  readonly fallbackUsage: { readonly inputTokens: bigint; readonly outputTokens: bigint } | null;
  readonly transcript: SourceTranscript | null;
}

/** The lines of a session, readable more than once. */
export interface SourceTranscript {
  /** For reports: the file, as a path below what was imported. */
  readonly name: string;
  /** The physical lines from the first on. */
  open(): AsyncIterable<FileLine>;
  /** What a line means; it hangs on no other line. */
  parse(line: FileLine): SourceLine;
}

/** A message of a source; its place in the tree is that of its line. */
export interface SourceMessage {
  readonly role: MessageRole;
  readonly content: string;
  /** Null where the one part is the text of `content`. */
  readonly parts: readonly StoredPart[] | null;
  readonly model: string | null;
  readonly provider: string | null;
  readonly usage: UsageAmounts | null;
  readonly stopReason: string | null;
  readonly metadata: JsonObject;
  /** Of a compaction: what it kept in the active view, from this entry on. */
  readonly compaction: CompactionStart | null;
}

/** The first entry a compaction keeps: its id, or its place among the file's entries, the header being 0. */
export type CompactionStart = { readonly entryId: string } | { readonly entryIndex: number };

/** What a line says of its session besides being a message. */
export interface LineFacts {
  readonly model?: string;
  readonly modelProvider?: string;
  readonly thinkingLevel?: string;
  readonly givenTitle?: string | null;
  readonly metadata?: JsonObject;
}

/** Why a line needs a word in the report. */
type LineProblem = 'malformed line' | 'line too long' | 'malformed message' | 'invalid UTF-8';

/** One line as a reader understands it. */
export interface SourceLine {
  /** The line as it stands, storable. */
  readonly raw: string;
  /** Entries form the tree; a header, a blank or a malformed line is none. */
  readonly kind: 'header' | 'entry' | 'blank' | 'malformed';
  readonly entryId: string | null;
  /** Undefined where the line has no such field: it follows the entry before it. Null is a root. */
  readonly parentEntryId?: string | null;
  readonly createdAt: Date | null;
  readonly message: SourceMessage | null;
  readonly facts: LineFacts;
  readonly problem: LineProblem | null;
  /** Characters replaced because the database cannot hold them. */
  readonly replaced: number;
  /** Hash of the content without ids, to know an entry again in a file that was rewritten; null for what is no entry. */
  readonly fingerprint: (() => string) | null;
}
