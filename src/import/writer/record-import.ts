import type { ClientBase } from 'pg';
import { moveBranch } from '../../modules/message/message-branch.sql.ts';
import type { UsageAmounts } from '../../modules/usage/usage.rules.ts';
import { importedMessageId } from '../import-id.ts';
import type { NumberedLine, TranscriptCursor } from '../lines/line-records.ts';
import type { ImportProblem } from '../report.ts';
import type { JsonObject, LineFacts, SourceMessage, SourceTranscript } from '../source.ts';
import { LineTree } from './entry-tree.ts';
import { addUsage, NO_USAGE } from './imported-usage.ts';
import { type LineRow, LineWriter, type MessageRow } from './line-writer.ts';
import { LineMatcher } from './record-matcher.ts';
import { sendStatement } from './send-statement.ts';
import type { SessionRow } from './session-row.ts';

/**
 * What a transcript is to the database: never seen, seen up to where the cursor stands, or seen in another form, the cursor standing
 * at the front.
 */
export type TranscriptState = 'fresh' | 'grown' | 'rewritten';

/** Where and how a transcript is written. */
export interface TranscriptTarget {
  readonly client: ClientBase;
  /** The session as it stands, locked. */
  readonly row: SessionRow;
  /** The session is being made by this import. */
  readonly created: boolean;
  /** Nothing is written. */
  readonly dryRun: boolean;
}

/** What the new lines of a transcript brought. */
export interface TranscriptGain {
  readonly linesWritten: number;
  readonly messages: number;
  readonly compactions: number;
  readonly nextPosition: number;
  readonly leafPosition: number | null;
  /** What the last compaction on the active branch takes out of the active view; undefined where nothing says so anew. */
  readonly compactedThrough?: number;
  readonly usage: UsageAmounts;
  /** What the lines say of the session, later ones winning. */
  readonly facts: LineFacts;
  /** The first text of a user, null where none spoke. */
  readonly firstUserText: string | null;
  readonly firstAt: Date | null;
  readonly lastAt: Date | null;
  readonly lastMessageAt: Date | null;
  readonly replacedCharacters: number;
  readonly problems: readonly ImportProblem[];
}

const KNOWN_LINES_PAGE = 10_000;
const KNOWN_CONTENTS_PAGE = 200;

const READ_KNOWN_LINES = `
select l.line, l.entry_id as "entryId", l.parent_entry_id as "parentEntryId", l.position::float8 as "given", m.position::float8 as "standing",
  case when $4 then l.raw end as raw
from aria_engine.import_lines l
  left join aria_engine.chat_messages m on m.session_id = l.session_id and m.position = l.position
where l.session_id = $1 and l.line > $2 order by l.line limit $3`;

const LAST_COMPACTION = `
select (metadata->>'firstKeptPosition')::float8 as "firstKept" from aria_engine.chat_messages
where session_id = $1 and on_branch and role = 'SYSTEM' and metadata->>'type' = 'compaction' and metadata ? 'firstKeptPosition'
order by position desc limit 1`;

/** Reads a transcript to its end from where the cursor stands, and writes the lines and messages that are new. */
export async function importTranscript(
  transcript: SourceTranscript,
  cursor: TranscriptCursor,
  state: TranscriptState,
  target: TranscriptTarget,
): Promise<TranscriptGain> {
  const run = new TranscriptImport(transcript, target);
  if (state !== 'fresh') await run.loadKnownLines(state === 'rewritten');
  for (let line = await cursor.next(); line !== null; line = await cursor.next()) await run.take(line);
  if (cursor.unfinished !== null) await run.takeUnfinished(cursor.unfinished);
  return run.finish();
}

class TranscriptImport {
  readonly #transcript: SourceTranscript;
  readonly #target: TranscriptTarget;
  readonly #tree = new LineTree();
  readonly #writer: Pick<LineWriter, 'add' | 'flush'>;
  readonly #problems: ImportProblem[] = [];
  #matcher: LineMatcher | null = null;
  #leafAtSource: number | null = null;
  #storedLine = 0;
  #flushedLine = 0;
  #linesWritten = 0;
  #messages = 0;
  #compactions = 0;
  #position: number;
  /** Where the branch would end if every message answered the one before. */
  #straightLeaf: number | null;
  #straight = true;
  #usage = NO_USAGE;
  #facts: LineFacts = {};
  #firstUserText: string | null = null;
  #firstAt: Date | null = null;
  #lastAt: Date | null = null;
  #lastMessageAt: Date | null = null;
  #clock: Date | null = null;
  #replacedCharacters = 0;

  constructor(transcript: SourceTranscript, target: TranscriptTarget) {
    const { client, row, created, dryRun } = target;
    this.#transcript = transcript;
    this.#target = target;
    this.#position = row.nextPosition - 1;
    this.#straightLeaf = row.leafPosition;
    this.#writer = dryRun
      ? { add: async () => undefined, flush: async () => undefined }
      : new LineWriter(client, row.id, created ? null : row.agentId);
  }

  async loadKnownLines(withContents: boolean): Promise<void> {
    const { client, row } = this.#target;
    this.#matcher = withContents ? new LineMatcher() : null;
    const limit = withContents ? KNOWN_CONTENTS_PAGE : KNOWN_LINES_PAGE;
    let lastGiven = 0;
    for (;;) {
      const { rows } = await client.query<{
        line: number;
        entryId: string | null;
        parentEntryId: string | null;
        given: number | null;
        standing: number | null;
        raw: string | null;
      }>(READ_KNOWN_LINES, [row.id, this.#storedLine, limit, withContents]);
      for (const { line, entryId, parentEntryId, given, standing, raw } of rows) {
        this.#storedLine = line;
        if (raw !== null) this.#matcher?.add(this.#transcript.parse({ line, bytes: Buffer.from(raw), closed: true }), entryId);
        // A message deleted here is like a line that never was one: what hangs on it hangs on its parent.
        if (entryId !== null) this.#tree.add(line, this.#tree.place(line, entryId, parentEntryId), standing, lastGiven);
        lastGiven = given ?? lastGiven;
      }
      if (rows.length < limit) break;
    }
    this.#flushedLine = this.#storedLine;
    this.#leafAtSource = this.#tree.leaf;
  }

  async take(line: NumberedLine): Promise<void> {
    const known = this.#matcher === null ? undefined : this.#findKnown(line);
    if (known !== undefined) {
      if (known !== null) this.#tree.revisit(known, line.entryId);
      return;
    }
    this.#storedLine++;
    this.#linesWritten++;
    this.#replacedCharacters += line.replaced;
    if (line.problem !== null) this.report(line.line, line.problem);
    this.#clock = line.createdAt ?? this.#clock;
    // The header, or the first entry where that is older: later clocks may be wrong.
    if (this.#lastAt === null) this.#firstAt = earlier(this.#firstAt, line.createdAt);
    const { metadata } = line.facts;
    this.#facts = {
      ...this.#facts,
      ...line.facts,
      ...(metadata === undefined ? {} : { metadata: { ...this.#facts.metadata, ...metadata } }),
    };
    if (line.kind === 'header') await this.#takeHeader(line);
    else if (line.kind === 'entry') await this.#takeEntry(line);
    else await this.#keep(line, null);
  }

  /** Keeps what there is of it; the caller has it removed when there is more. */
  async takeUnfinished(line: NumberedLine): Promise<void> {
    this.#storedLine++;
    this.#linesWritten++;
    this.report(line.line, 'unfinished last line');
    await this.#keep(line, null);
  }

  async finish(): Promise<TranscriptGain> {
    await this.#writer.flush();
    const { client, row, dryRun } = this.#target;
    const leafPosition = this.#finalLeaf();
    const bent = !this.#straight || leafPosition !== this.#straightLeaf;
    if (bent && !dryRun) await sendStatement(client, moveBranch(row.id, leafPosition, row.nextPosition));
    const compactedThrough = (bent || this.#compactions > 0) && !dryRun ? await this.#readCompactedThrough() : undefined;
    return {
      linesWritten: this.#linesWritten,
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
      lastMessageAt: this.#lastMessageAt,
      replacedCharacters: this.#replacedCharacters,
      problems: this.#problems,
    };
  }

  report(line: number, reason: string, detail?: string): void {
    this.#problems.push({ file: this.#transcript.name, line, reason, ...(detail === undefined ? {} : { detail }) });
  }

  #findKnown(line: NumberedLine): string | null | undefined {
    const same = this.#matcher?.take(line);
    return line.entryId !== null && this.#tree.has(line.entryId) ? line.entryId : same;
  }

  async #takeHeader(line: NumberedLine): Promise<void> {
    // It has no place in the tree, but counts where entries are named by their number.
    const entryId = `line:${this.#storedLine}`;
    this.#tree.add(this.#storedLine, { entryId, parentPosition: null }, null, this.#position);
    await this.#keep(line, null, { entryId, parentEntryId: null });
  }

  async #takeEntry(line: NumberedLine): Promise<void> {
    this.#lastAt = later(this.#lastAt, line.createdAt);
    const place = this.#tree.place(this.#storedLine, line.entryId, line.parentEntryId);
    if (place.problem === 'duplicate entry id' && line.entryId !== null && (await this.#isRepeated(line.entryId, line.raw))) {
      this.report(line.line, 'repeated line', line.entryId);
      this.#tree.revisit(line.entryId, null);
      return this.#keep(line, null);
    }
    if (place.problem !== null)
      this.report(line.line, place.problem, (place.problem === 'missing parent' ? place.parentEntryId : line.entryId) ?? undefined);
    const before = this.#position;
    const { message } = line;
    if (message === null) {
      this.#tree.add(this.#storedLine, place, null, before);
      return this.#keep(line, null, place);
    }
    this.#position++;
    const row: MessageRow = {
      id: importedMessageId(this.#target.row.id, place.entryId),
      externalId: place.entryId,
      position: this.#position,
      parentPosition: place.parentPosition,
      createdAt: this.#clock ?? this.#target.row.lastActivityAt,
      message: this.#placeCompaction(message, before),
    };
    this.#tree.add(this.#storedLine, place, this.#position, before);
    this.#count(row);
    return this.#keep(line, row, place);
  }

  #count({ message, parentPosition, position, createdAt }: MessageRow): void {
    this.#messages++;
    if (parentPosition !== this.#straightLeaf) this.#straight = false;
    this.#straightLeaf = position;
    this.#lastMessageAt = later(this.#lastMessageAt, createdAt);
    if (message.usage !== null) this.#usage = addUsage(this.#usage, message.usage);
    if (message.role === 'USER' && message.content.trim() !== '') this.#firstUserText ??= message.content;
  }

  /** Puts the first position a compaction keeps beside it: the branch it lies on decides later whether it counts. */
  #placeCompaction(message: SourceMessage, before: number): SourceMessage {
    if (message.compaction === null) return message;
    this.#compactions++;
    // OpenClaw shows nothing of what stood before where it cannot find the first entry to keep.
    const through = this.#tree.positionBefore(message.compaction) ?? before;
    const metadata: JsonObject = { ...message.metadata, firstKeptPosition: through + 1 };
    return { ...message, metadata };
  }

  async #isRepeated(entryId: string, raw: string): Promise<boolean> {
    const line = this.#tree.lineOf(entryId);
    if (line === null || this.#target.dryRun) return false;
    if (line > this.#flushedLine) {
      await this.#writer.flush();
      this.#flushedLine = this.#storedLine - 1;
    }
    const { rows } = await this.#target.client.query<{ same: boolean }>(
      'select raw = $3 as same from aria_engine.import_lines where session_id = $1 and line = $2',
      [this.#target.row.id, line, raw],
    );
    return rows[0]?.same === true;
  }

  async #keep(
    line: NumberedLine,
    message: MessageRow | null,
    { entryId, parentEntryId }: Pick<LineRow, 'entryId' | 'parentEntryId'> = { entryId: null, parentEntryId: null },
  ): Promise<void> {
    await this.#writer.add({ line: this.#storedLine, entryId, parentEntryId, position: message?.position ?? null, raw: line.raw }, message);
  }

  #finalLeaf(): number | null {
    const { leafPosition } = this.#target.row;
    const atSource = this.#tree.leaf;
    if (this.#messages > 0) return atSource ?? this.#position;
    // Without a new message the branch follows the source only if nobody has gone on from it here.
    return leafPosition === this.#leafAtSource ? (atSource ?? leafPosition) : leafPosition;
  }

  async #readCompactedThrough(): Promise<number> {
    const { rows } = await this.#target.client.query<{ firstKept: number }>(LAST_COMPACTION, [this.#target.row.id]);
    return (rows[0]?.firstKept ?? 1) - 1;
  }
}

function earlier(one: Date | null, other: Date | null): Date | null {
  return one === null || (other !== null && other < one) ? other : one;
}

function later(one: Date | null, other: Date | null): Date | null {
  return one === null || (other !== null && other > one) ? other : one;
}
