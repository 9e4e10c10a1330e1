import { Prisma } from '../../generated/prisma/client.ts';
import { moveBranch } from '../../modules/message/message-branch.sql.ts';
import type { UsageAmounts } from '../../modules/usage/usage.rules.ts';
import type { Executor, Sql } from '../../postgres/database.ts';
import { importedMessageId } from '../import-id.ts';
import type { ImportProblem } from '../report.ts';
import type { JsonObject, RecordFacts, RecordReader, SourceMessage, SourceRecord, SourceRecords } from '../source.ts';
import { EntryTree } from './entry-tree.ts';
import { addUsage, NO_USAGE } from './imported-usage.ts';
import { type ImportedMessage, type LineRow, LineWriter } from './line-writer.ts';
import { RecordMatcher } from './record-matcher.ts';
import type { ImportedSession } from './session-row.ts';

/**
 * What earlier imports read of a session's records.
 * - `fresh`: nothing
 * - `grown`: everything before the reader's position
 * - `rewritten`: records that the source has changed since; the reader starts at the first record
 */
export type RecordState = 'fresh' | 'grown' | 'rewritten';

/** The session that records are written to. */
export interface RecordTarget {
  readonly transaction: Executor;
  /** The session as it is now, locked. */
  readonly row: ImportedSession;
  /** True if this import creates the session. */
  readonly created: boolean;
  /** True if nothing may be written. */
  readonly dryRun: boolean;
}

/** What the new records of a session added to it. */
export interface RecordGain {
  readonly recordsWritten: number;
  readonly messages: number;
  readonly compactions: number;
  readonly nextPosition: number;
  readonly leafPosition: number | null;
  /** Messages up to this position are outside the active view. Undefined if the new records do not change that. */
  readonly compactedThrough?: number;
  readonly usage: UsageAmounts;
  /** What the records say about the session; later records win. */
  readonly facts: RecordFacts;
  /** The first text of a user; null if there is none. */
  readonly firstUserText: string | null;
  readonly firstAt: Date | null;
  readonly lastAt: Date | null;
  /** Time of the message at `leafPosition`; null if there is none. */
  readonly lastMessageAt: Date | null;
  readonly replacedCharacters: number;
  readonly problems: readonly ImportProblem[];
}

const KNOWN_RECORDS_PAGE = 10_000;
/** With their raw text, which may be large. */
const KNOWN_CONTENTS_PAGE = 200;

/** A record that was imported before. */
interface KnownRecord {
  readonly number: number;
  readonly entryId: string | null;
  readonly parentEntryId: string | null;
  /** The position that its message got. */
  readonly given: number | null;
  /** The same, if the message still exists. */
  readonly current: number | null;
  /** Null if it was not asked for. */
  readonly raw: string | null;
}

function selectKnownRecords(sessionId: string, after: number, limit: number, withContents: boolean): Sql {
  return Prisma.sql`
    select l.line as number, l.entry_id as "entryId", l.parent_entry_id as "parentEntryId", l.position::float8 as given,
      m.position::float8 as current, case when ${withContents}::bool then l.raw end as raw
    from aria_engine.import_lines l
      left join aria_engine.chat_messages m on m.session_id = l.session_id and m.position = l.position
    where l.session_id = ${sessionId}::uuid and l.line > ${after}::int order by l.line limit ${limit}::int`;
}

function selectLastCompaction(sessionId: string): Sql {
  return Prisma.sql`
    select (metadata->>'firstKeptPosition')::float8 as "firstKept" from aria_engine.chat_messages
    where session_id = ${sessionId}::uuid and on_branch and role = 'SYSTEM' and metadata->>'type' = 'compaction'
      and metadata ? 'firstKeptPosition'
    order by position desc limit 1`;
}

/** Reads records to the end and writes those that are new, with their messages. */
export async function importRecords(
  records: SourceRecords,
  reader: RecordReader,
  state: RecordState,
  target: RecordTarget,
): Promise<RecordGain> {
  const run = new RecordImport(records, target);
  if (state !== 'fresh') await run.loadKnownRecords(state === 'rewritten');
  for (let record = await reader.next(); record !== null; record = await reader.next()) await run.take(record);
  if (reader.unfinished !== null) await run.takeUnfinished(reader.unfinished);
  return run.finish();
}

class RecordImport {
  readonly #records: SourceRecords;
  readonly #target: RecordTarget;
  readonly #tree = new EntryTree();
  readonly #writer: Pick<LineWriter, 'add' | 'flush'>;
  readonly #problems: ImportProblem[] = [];
  #matcher: RecordMatcher | null = null;
  #knownLeaf: number | null = null;
  /** Number of the last record that is stored or about to be. */
  #storedNumber = 0;
  /** Number of the last record that the database has. */
  #flushedNumber = 0;
  #recordsWritten = 0;
  #messages = 0;
  #compactions = 0;
  #position: number;
  /** The last message so far, if each message is the child of the one before. */
  #straightLeaf: number | null;
  #isStraight = true;
  #usage = NO_USAGE;
  #facts: RecordFacts = {};
  #firstUserText: string | null = null;
  #firstAt: Date | null = null;
  #lastAt: Date | null = null;
  /** Time of the last new message. */
  #newestAt: Date | null = null;
  #clock: Date | null = null;
  #replacedCharacters = 0;

  constructor(records: SourceRecords, target: RecordTarget) {
    const { transaction, row, created, dryRun } = target;
    this.#records = records;
    this.#target = target;
    this.#position = row.nextPosition - 1;
    this.#straightLeaf = row.leafPosition;
    this.#writer = dryRun
      ? { add: async () => undefined, flush: async () => undefined }
      : new LineWriter(transaction, row.id, created ? null : row.agentId);
  }

  async loadKnownRecords(withContents: boolean): Promise<void> {
    const { transaction, row } = this.#target;
    this.#matcher = withContents ? new RecordMatcher() : null;
    const limit = withContents ? KNOWN_CONTENTS_PAGE : KNOWN_RECORDS_PAGE;
    let lastGiven = 0;
    for (;;) {
      const rows = await transaction.rows<KnownRecord>(selectKnownRecords(row.id, this.#storedNumber, limit, withContents));
      for (const { number, entryId, parentEntryId, given, current, raw } of rows) {
        this.#storedNumber = number;
        if (raw !== null) this.#matcher?.add(this.#records.parse(raw, number), entryId);
        // A message that was deleted here counts as an entry without a message: its children get its parent.
        if (entryId !== null) this.#tree.add(number, this.#tree.place(number, entryId, parentEntryId), current, lastGiven);
        lastGiven = given ?? lastGiven;
      }
      if (rows.length < limit) break;
    }
    this.#flushedNumber = this.#storedNumber;
    this.#knownLeaf = this.#tree.leaf;
  }

  async take(record: SourceRecord): Promise<void> {
    const known = this.#matcher === null ? undefined : this.#findKnown(record);
    if (known !== undefined) {
      if (known !== null) this.#tree.revisit(known, record.entryId);
      return;
    }
    this.#storedNumber++;
    this.#recordsWritten++;
    this.#replacedCharacters += record.replaced;
    if (record.problem !== null) this.#report(record.number, record.problem);
    this.#clock = record.createdAt ?? this.#clock;
    // The session begins with its header, or with its first entry if that is older. Later entries may come from a wrong clock.
    if (this.#lastAt === null) this.#firstAt = earlier(this.#firstAt, record.createdAt);
    const { metadata } = record.facts;
    this.#facts = {
      ...this.#facts,
      ...record.facts,
      ...(metadata === undefined ? {} : { metadata: { ...this.#facts.metadata, ...metadata } }),
    };
    if (record.kind === 'header') await this.#takeHeader(record);
    else if (record.kind === 'entry') await this.#takeEntry(record);
    else await this.#store(record, null);
  }

  /** Stores the beginning of a record. The next import deletes it and reads the whole record. */
  async takeUnfinished(record: SourceRecord): Promise<void> {
    this.#storedNumber++;
    this.#recordsWritten++;
    this.#report(record.number, 'unfinished last line');
    await this.#store(record, null);
  }

  async finish(): Promise<RecordGain> {
    await this.#writer.flush();
    const { transaction, row, dryRun } = this.#target;
    const leafPosition = this.#finalLeaf();
    const isBranched = !this.#isStraight || leafPosition !== this.#straightLeaf;
    if (isBranched && !dryRun) await transaction.rows(moveBranch(row.id, leafPosition, row.nextPosition));
    const compactedThrough = (isBranched || this.#compactions > 0) && !dryRun ? await this.#readCompactedThrough() : undefined;
    return {
      recordsWritten: this.#recordsWritten,
      messages: this.#messages,
      compactions: this.#compactions,
      nextPosition: this.#position + 1,
      leafPosition,
      ...(compactedThrough === undefined ? {} : { compactedThrough }),
      usage: this.#usage,
      facts: this.#facts,
      firstUserText: this.#firstUserText,
      firstAt: this.#firstAt,
      lastAt: this.#lastAt,
      lastMessageAt: await this.#timeOf(leafPosition),
      replacedCharacters: this.#replacedCharacters,
      problems: this.#problems,
    };
  }

  #report(number: number, reason: string, detail?: string): void {
    this.#problems.push({ file: this.#records.name, line: number, reason, ...(detail === undefined ? {} : { detail }) });
  }

  /** The entry id of a record that was imported before, null if it is not an entry; undefined if the record is new. */
  #findKnown(record: SourceRecord): string | null | undefined {
    const known = this.#matcher?.take(record);
    return record.entryId !== null && this.#tree.has(record.entryId) ? record.entryId : known;
  }

  async #takeHeader(record: SourceRecord): Promise<void> {
    // A header has no parent and no children, but it counts if a compaction names its first entry by index.
    const entryId = `line:${this.#storedNumber}`;
    this.#tree.add(this.#storedNumber, { entryId, parentPosition: null }, null, this.#position);
    await this.#store(record, null, { entryId, parentEntryId: null });
  }

  async #takeEntry(record: SourceRecord): Promise<void> {
    this.#lastAt = later(this.#lastAt, record.createdAt);
    const place = this.#tree.place(this.#storedNumber, record.entryId, record.parentEntryId);
    if (place.problem === 'duplicate entry id' && record.entryId !== null && (await this.#isRepeated(record.entryId, record.raw))) {
      this.#report(record.number, 'repeated entry', record.entryId);
      this.#tree.revisit(record.entryId, null);
      return this.#store(record, null);
    }
    if (place.problem !== null)
      this.#report(record.number, place.problem, (place.problem === 'missing parent' ? place.parentEntryId : record.entryId) ?? undefined);
    const before = this.#position;
    const { message } = record;
    if (message === null) {
      this.#tree.add(this.#storedNumber, place, null, before);
      return this.#store(record, null, place);
    }
    this.#position++;
    const row: ImportedMessage = {
      id: importedMessageId(this.#target.row.id, place.entryId),
      externalId: place.entryId,
      position: this.#position,
      parentPosition: place.parentPosition,
      createdAt: this.#clock ?? this.#target.row.lastActivityAt,
      message: this.#withFirstKept(message, before),
    };
    this.#tree.add(this.#storedNumber, place, this.#position, before);
    this.#count(row);
    return this.#store(record, row, place);
  }

  #count({ message, parentPosition, position, createdAt }: ImportedMessage): void {
    this.#messages++;
    if (parentPosition !== this.#straightLeaf) this.#isStraight = false;
    this.#straightLeaf = position;
    this.#newestAt = createdAt;
    if (message.usage !== null) this.#usage = addUsage(this.#usage, message.usage);
    if (message.role === 'USER' && message.content.trim() !== '') this.#firstUserText ??= message.content;
  }

  /** Adds the first position that a compaction keeps. Whether the compaction counts is known only with the final branch. */
  #withFirstKept(message: SourceMessage, before: number): SourceMessage {
    if (message.compaction === null) return message;
    this.#compactions++;
    // If the first entry to keep is unknown, nothing from before the compaction stays in the active view, as in OpenClaw.
    const through = this.#tree.positionBefore(message.compaction) ?? before;
    const metadata: JsonObject = { ...message.metadata, firstKeptPosition: through + 1 };
    return { ...message, metadata };
  }

  /** Whether the entry that already uses this id has the same text. */
  async #isRepeated(entryId: string, raw: string): Promise<boolean> {
    const number = this.#tree.numberOf(entryId);
    if (number === null || this.#target.dryRun) return false;
    if (number > this.#flushedNumber) {
      await this.#writer.flush();
      this.#flushedNumber = this.#storedNumber - 1;
    }
    const { transaction, row } = this.#target;
    const [stored] = await transaction.rows<{ same: boolean }>(Prisma.sql`
      select raw = ${raw} as same from aria_engine.import_lines where session_id = ${row.id}::uuid and line = ${number}::int`);
    return stored?.same === true;
  }

  async #store(
    record: SourceRecord,
    message: ImportedMessage | null,
    { entryId, parentEntryId }: Pick<LineRow, 'entryId' | 'parentEntryId'> = { entryId: null, parentEntryId: null },
  ): Promise<void> {
    const position = message?.position ?? null;
    await this.#writer.add({ line: this.#storedNumber, entryId, parentEntryId, position, raw: record.raw }, message);
  }

  #finalLeaf(): number | null {
    const { leafPosition } = this.#target.row;
    const sourceLeaf = this.#tree.leaf;
    if (this.#messages > 0) return sourceLeaf ?? this.#position;
    // Without a new message the branch follows the source, unless somebody has appended to it here.
    return leafPosition === this.#knownLeaf ? (sourceLeaf ?? leafPosition) : leafPosition;
  }

  async #timeOf(leaf: number | null): Promise<Date | null> {
    const { transaction, row } = this.#target;
    if (leaf === row.leafPosition) return row.lastMessageAt;
    if (leaf === this.#position && this.#newestAt !== null) return this.#newestAt;
    const [message] = await transaction.rows<{ createdAt: Date }>(Prisma.sql`
      select created_at as "createdAt" from aria_engine.chat_messages where session_id = ${row.id}::uuid and position = ${leaf}::bigint`);
    return message?.createdAt ?? null;
  }

  async #readCompactedThrough(): Promise<number> {
    const { transaction, row } = this.#target;
    const [compaction] = await transaction.rows<{ firstKept: number }>(selectLastCompaction(row.id));
    return (compaction?.firstKept ?? 1) - 1;
  }
}

function earlier(one: Date | null, other: Date | null): Date | null {
  return one === null || (other !== null && other < one) ? other : one;
}

function later(one: Date | null, other: Date | null): Date | null {
  return one === null || (other !== null && other > one) ? other : one;
}
