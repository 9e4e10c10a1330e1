import type { ClientBase } from 'pg';
import type { TypedEvent } from '../../events/event-types.ts';
import { parseUuid } from '../../global-id.ts';
import { TranscriptCursor } from '../lines/line-records.ts';
import type { ImportProblem, SessionOutcome } from '../report.ts';
import type { SourceSession } from '../source.ts';
import { canonicalJson, type FieldHashes, hashValue } from './field-merge.ts';
import type { ImportContext, ImportWriterOptions } from './import-context.ts';
import { statusChanged, writeEvents } from './import-events.ts';
import { type KnownImport, RECORD, readKnownImport, saveRecord } from './import-record.ts';
import { ChangedMeanwhileError, retryPassing } from './import-retry.ts';
import { importUsage } from './imported-usage.ts';
import { claimNames } from './name-claim.ts';
import { findParent, linkParent } from './parent-link.ts';
import { importTranscript, type TranscriptGain, type TranscriptState } from './record-import.ts';
import { withCompaction, withFacts, withGain } from './session-gain.ts';
import { type MergedSession, mergeSession } from './session-merge.ts';
import {
  emptySessionRow,
  insertSessionRow,
  isSameActivity,
  isSameSession,
  readSessionRow,
  type SessionRow,
  stamped,
  updateActivityRow,
  updateSessionRow,
} from './session-row.ts';

/** What one attempt works on. */
interface SessionJob {
  /** Where the new lines begin; null where there are none. */
  readonly cursor: TranscriptCursor | null;
  readonly state: TranscriptState;
  readonly known: KnownImport;
  /** Hash of all the source says of the session besides its transcript. */
  readonly sourceHash: string;
  /** UUID of the parent the source names, where there is one. */
  readonly parentId: string | null;
}

/** What the import of a session came to. */
interface SessionChange {
  readonly before: SessionRow;
  readonly merged: MergedSession;
  readonly gain: TranscriptGain | null;
  readonly created: boolean;
  readonly newParentId: string | null;
}

/**
 * Brings one session to what its source says, in one transaction: makes it, adds the lines and messages that are new, and changes the
 * fields that changed at the source and were not edited here. Safe beside live writers and other imports.
 * @param client a connection of its own, outside any transaction
 * @throws the errors of pg and of reading the transcript; nothing of the session is then written
 */
export function writeSession(client: ClientBase, source: SourceSession, options: ImportWriterOptions): Promise<SessionOutcome> {
  return retryPassing(() => new SessionImport(client, source, options).run());
}

class SessionImport {
  readonly #client: ClientBase;
  readonly #source: SourceSession;
  readonly #options: ImportWriterOptions;
  readonly #problems: ImportProblem[] = [];
  #linesRead = 0;

  constructor(client: ClientBase, source: SourceSession, options: ImportWriterOptions) {
    this.#client = client;
    this.#source = source;
    this.#options = options;
  }

  async run(): Promise<SessionOutcome> {
    const known = await readKnownImport(this.#client, this.#source);
    if (known.refusal !== null) return this.#outcome('skipped', null, known.refusal);
    const { fields, times, fallbackUsage, parent, transcript } = this.#source;
    const parentId = await findParent(this.#client, this.#source, this.#options);
    const usage = fallbackUsage === null ? null : [String(fallbackUsage.inputTokens), String(fallbackUsage.outputTokens)];
    const sourceHash = hashValue({ fields, times, parent, parentId, usage });
    const job = { known, sourceHash, parentId };
    if (transcript === null) return this.#runJob({ ...job, cursor: null, state: 'fresh' });
    const ahead = new TranscriptCursor(transcript);
    try {
      const { lines, digest, rewritten } = known.transcript;
      const continues = (await ahead.skip(lines)) && ahead.digest() === digest;
      if (lines === 0 && fields.complete !== true && (await ahead.peek()) === null)
        return this.#outcome('skipped', null, 'empty transcript');
      if (continues && (!rewritten || (await ahead.peek()) === null)) {
        return await this.#runJob({ ...job, cursor: ahead, state: lines === 0 ? 'fresh' : 'grown' });
      }
    } finally {
      await ahead.close();
    }
    const cursor = new TranscriptCursor(transcript);
    try {
      return await this.#runJob({ ...job, cursor, state: 'rewritten' });
    } finally {
      await cursor.close();
    }
  }

  async #runJob(job: SessionJob): Promise<SessionOutcome> {
    const { cursor, known, sourceHash } = job;
    const news = cursor !== null && (await hasNews(cursor, known.hashes));
    this.#linesRead = cursor?.linesRead ?? 0;
    if (!news && known.hashes[RECORD.source] === sourceHash) return this.#outcome('unchanged', null);
    const work = news ? job : { ...job, cursor: null };
    if (this.#options.dryRun) return this.#write(work);
    await this.#client.query('begin');
    try {
      const outcome = await this.#write(work);
      await this.#client.query('commit');
      return outcome;
    } catch (error) {
      await this.#client.query('rollback').catch(() => undefined);
      throw error;
    }
  }

  async #write(job: SessionJob): Promise<SessionOutcome> {
    const { known, sourceHash, parentId } = job;
    const { row: before, created } = await this.#lock(known);
    const context = this.#contextUnderLock();
    const hashes: Record<string, string> = { ...known.hashes, [RECORD.source]: sourceHash };
    const gain = await this.#importLines(job, before, created, hashes);
    let row = withGain(before, gain, this.#source.times, created, context.now);
    const usage = importUsage(row, hashes[RECORD.usage], gain?.usage ?? null, this.#source.fallbackUsage);
    if (usage.record !== undefined) hashes[RECORD.usage] = usage.record;
    row = withCompaction({ ...row, ...usage.totals }, gain, hashes, created);
    const revived = before.supersededAt !== null && hashes[RECORD.superseded] !== undefined && this.#source.fields.key != null;
    if (revived) {
      delete hashes[RECORD.superseded];
      row = { ...row, supersededAt: null };
    }
    const named = await claimNames(context, row, withFacts(row, this.#source.fields, gain), hashes, created || revived);
    const linked = await linkParent(context, row, named.fields, hashes, { parentId, created });
    const merged = mergeSession(linked.row, linked.fields, hashes, {
      rules: this.#options.rules,
      now: context.now,
      stalledAfterMs: this.#options.stalledAfterMs,
      created,
      protectedExtra: named.protectedExtra,
    });
    if (merged.keptEdits.length > 0) context.report('edited here, kept', merged.keptEdits.join(', '));
    return this.#save(context, { before, merged, gain, created, newParentId: linked.parentId });
  }

  #contextUnderLock(): ImportContext {
    return {
      client: this.#client,
      source: this.#source,
      options: this.#options,
      now: new Date(),
      report: (reason, detail) => {
        this.#problems.push({ file: this.#source.transcript?.name ?? this.#source.externalId, line: null, reason, detail });
      },
    };
  }

  async #importLines(
    { cursor, state, known }: SessionJob,
    row: SessionRow,
    created: boolean,
    hashes: Record<string, string>,
  ): Promise<TranscriptGain | null> {
    const { transcript } = this.#source;
    const { dryRun } = this.#options;
    if (transcript === null || cursor === null) return null;
    if (known.hashes[RECORD.unfinished] !== undefined && !dryRun) {
      await this.#client.query(
        `delete from aria_engine.import_lines where session_id = $1
         and line = (select max(line) from aria_engine.import_lines where session_id = $1)`,
        [row.id],
      );
    }
    const gain = await importTranscript(transcript, cursor, state, { client: this.#client, row, created, dryRun });
    this.#linesRead = cursor.linesRead;
    const rewritten = state === 'rewritten' || known.transcript.rewritten;
    hashes[RECORD.transcript] = `${cursor.linesRead}:${cursor.digest()}:${rewritten ? 1 : 0}`;
    if (cursor.unfinished === null) delete hashes[RECORD.unfinished];
    else hashes[RECORD.unfinished] = hashValue(cursor.unfinished.raw);
    return gain;
  }

  async #lock(known: KnownImport): Promise<{ readonly row: SessionRow; readonly created: boolean }> {
    const { id, agentId } = this.#source;
    const { dryRun } = this.#options;
    const standing = await readSessionRow(this.#client, id, { lock: !dryRun });
    if (standing === null && Object.keys(known.hashes).length > 0) throw new ChangedMeanwhileError();
    const row = standing ?? emptySessionRow(id, agentId, new Date());
    if (dryRun) return { row, created: standing === null };
    if (standing === null) {
      if (!(await insertSessionRow(this.#client, row))) throw new ChangedMeanwhileError();
      // What an earlier session of this id left behind speaks of messages that are gone.
      await this.#client.query('delete from aria_engine.import_lines where session_id = $1', [id]);
      await this.#client.query('delete from aria_engine.import_sources where session_id = $1', [id]);
    }
    const { refusal, hashes } = await readKnownImport(this.#client, this.#source);
    if (refusal !== null || canonicalJson(hashes) !== canonicalJson(known.hashes)) throw new ChangedMeanwhileError();
    return { row, created: standing === null };
  }

  async #save({ client, now }: ImportContext, { before, merged, gain, created, newParentId }: SessionChange): Promise<SessionOutcome> {
    const changed = [...merged.changed];
    if (merged.row.supersededAt?.getTime() !== before.supersededAt?.getTime()) changed.push('supersededAt');
    if (newParentId !== null && !changed.includes('parent')) changed.push('parent');
    const told = !created && (changed.length > 0 || merged.statusChanged);
    const row = told ? { ...merged.row, version: before.version + 1 } : merged.row;
    const sessionMoved = created || !isSameSession(before, row);
    const moved = sessionMoved || (gain?.linesWritten ?? 0) > 0 || !isSameActivity(before, row);
    const result = created ? 'created' : moved ? 'updated' : 'unchanged';
    if (this.#options.dryRun) return this.#outcome(result, gain);
    const written = created ? row : stamped(row, now);
    if (sessionMoved) await updateSessionRow(client, written, this.#externalId());
    else if (moved) await updateActivityRow(client, written);
    const parent = newParentId === null ? {} : { parentId: newParentId };
    const events: TypedEvent[] = [];
    if (created) events.push({ type: 'CREATED', payload: parent });
    if (!created && changed.length > 0) events.push({ type: 'UPDATED', payload: { changed, ...parent } });
    if (!created && merged.statusChanged) events.push(statusChanged(before, row, now));
    await writeEvents(client, row, events);
    await saveRecord(client, this.#source, merged.hashes);
    return this.#outcome(result, gain);
  }

  #externalId(): string | null {
    return parseUuid(this.#source.externalId) === null ? this.#source.externalId : null;
  }

  #outcome(result: SessionOutcome['result'], gain: TranscriptGain | null, reason?: string): SessionOutcome {
    return {
      result,
      ...(reason === undefined ? {} : { reason }),
      linesRead: this.#linesRead,
      linesWritten: gain?.linesWritten ?? 0,
      messagesWritten: gain?.messages ?? 0,
      replacedCharacters: gain?.replacedCharacters ?? 0,
      problems: [...(gain?.problems ?? []), ...this.#problems],
    };
  }
}

/** Whether the transcript goes on where the cursor stands, or the start of a last line is another than it was. */
async function hasNews(cursor: TranscriptCursor, hashes: FieldHashes): Promise<boolean> {
  if ((await cursor.peek()) !== null) return true;
  const { unfinished } = cursor;
  return (unfinished === null ? undefined : hashValue(unfinished.raw)) !== hashes[RECORD.unfinished];
}
