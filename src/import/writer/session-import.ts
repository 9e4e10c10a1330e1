import type { TypedEvent } from '../../events/event-types.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseUuid } from '../../global-id.ts';
import type { Executor } from '../../postgres/database.ts';
import { canonicalJson } from '../canonical-json.ts';
import type { ImportProblem, SessionOutcome } from '../report.ts';
import type { RecordReader, SourceSession } from '../source.ts';
import { type FieldHashes, hashValue } from './field-merge.ts';
import { ConcurrentChangeError, type ImportContext, type ImportOptions } from './import-context.ts';
import { changedCounters, statusChanged, writeEvents } from './import-events.ts';
import { importUsage } from './imported-usage.ts';
import { type LastImport, RESERVED, readLastImport, recordsEntry, saveImport } from './last-import.ts';
import { claimNames } from './name-claim.ts';
import { findParent, linkParent } from './parent-link.ts';
import { importRecords, type RecordGain, type RecordState } from './record-import.ts';
import { withCompaction, withFacts, withGain } from './session-gain.ts';
import { type MergedSession, mergeSession } from './session-merge.ts';
import {
  emptySessionRow,
  type ImportedSession,
  insertSessionRow,
  isSameActivity,
  isSameSession,
  readSessionRow,
  updateActivityRow,
  updateSessionRow,
  withUpdatedAt,
} from './session-row.ts';

/** What the session's transaction has to do. */
interface SessionJob {
  /** Positioned before the first record to import; null if there are no new records. */
  readonly reader: RecordReader | null;
  readonly state: RecordState;
  readonly last: LastImport;
  /** Hash of everything the source says about the session, except its records. */
  readonly sourceHash: string;
  /** UUID of the parent that the source names; null if there is none. */
  readonly parentId: string | null;
}

/** The session before and after the import. */
interface SessionChange {
  readonly before: ImportedSession;
  readonly merged: MergedSession;
  readonly gain: RecordGain | null;
  readonly created: boolean;
  readonly newParentId: string | null;
}

/**
 * Imports one session in the caller's transaction: creates it, adds new records and messages, and updates the fields that changed at the
 * source and were not edited here. Safe while other clients and other imports write.
 * @throws ConcurrentChangeError if another writer was faster, errors of pg, and errors of reading the source
 */
export function importSession(transaction: Executor, source: SourceSession, options: ImportOptions): Promise<SessionOutcome> {
  return new SessionImport(transaction, source, options).run();
}

class SessionImport {
  readonly #transaction: Executor;
  readonly #source: SourceSession;
  readonly #options: ImportOptions;
  readonly #problems: ImportProblem[] = [];
  #recordsRead = 0;

  constructor(transaction: Executor, source: SourceSession, options: ImportOptions) {
    this.#transaction = transaction;
    this.#source = source;
    this.#options = options;
  }

  async run(): Promise<SessionOutcome> {
    const last = await readLastImport(this.#transaction, this.#source);
    if (last.refusal !== null) return this.#outcome('skipped', null, last.refusal);
    const { fields, times, fallbackUsage, parent, records } = this.#source;
    const parentId = await findParent(this.#transaction, this.#source, this.#options);
    const usage = fallbackUsage === null ? null : [String(fallbackUsage.inputTokens), String(fallbackUsage.outputTokens)];
    const sourceHash = hashValue({ fields, times, parent, parentId, usage });
    const job = { last, sourceHash, parentId };
    if (records === null) return this.#runJob({ ...job, reader: null, state: 'fresh' });
    const resumed = last.position === null ? records.read() : await records.resume(last.position);
    if (resumed !== null) {
      try {
        if (resumed.recordsRead === 0 && fields.complete !== true && (await resumed.peek()) === null)
          return this.#outcome('skipped', null, 'empty transcript');
        if (!last.rewritten || (await resumed.peek()) === null)
          return await this.#runJob({ ...job, reader: resumed, state: last.position === null ? 'fresh' : 'grown' });
      } finally {
        await resumed.close();
      }
    }
    const reader = records.read();
    try {
      return await this.#runJob({ ...job, reader, state: 'rewritten' });
    } finally {
      await reader.close();
    }
  }

  async #runJob(job: SessionJob): Promise<SessionOutcome> {
    const { reader, last, sourceHash } = job;
    const isNew = reader !== null && (await hasNewRecords(reader, last.hashes));
    this.#recordsRead = reader?.recordsRead ?? 0;
    if (!isNew && last.hashes[RESERVED.source] === sourceHash) return this.#outcome('unchanged', null);
    return this.#write(isNew ? job : { ...job, reader: null });
  }

  async #write(job: SessionJob): Promise<SessionOutcome> {
    const { last, sourceHash, parentId } = job;
    const { row: before, created } = await this.#lock(last);
    const context = this.#contextUnderLock();
    const hashes: Record<string, string> = { ...last.hashes, [RESERVED.source]: sourceHash };
    const gain = await this.#importRecords(job, before, created, hashes);
    let row = withGain(before, gain, this.#source.times, created, context.now);
    const usage = importUsage(row, hashes[RESERVED.usage], gain?.usage ?? null, this.#source.fallbackUsage);
    if (usage.record !== undefined) hashes[RESERVED.usage] = usage.record;
    row = withCompaction({ ...row, ...usage.totals }, gain, hashes, created);
    const isRevived = before.supersededAt !== null && hashes[RESERVED.superseded] !== undefined && this.#source.fields.key != null;
    if (isRevived) {
      delete hashes[RESERVED.superseded];
      row = { ...row, supersededAt: null };
    }
    const named = await claimNames(context, row, withFacts(row, this.#source.fields, gain), hashes, created || isRevived);
    const linked = await linkParent(context, row, named.fields, hashes, { parentId, created });
    const merged = mergeSession(linked.row, linked.fields, hashes, {
      rules: this.#options.rules,
      now: context.now,
      stalledAfterMs: this.#options.stalledAfterMs,
      created,
      protectedExtra: named.protectedExtra,
    });
    if (merged.keptEdits.length > 0) context.report('edited in Sessiongraph, kept', merged.keptEdits.join(', '));
    return this.#save(context, { before, merged, gain, created, newParentId: linked.parentId });
  }

  #contextUnderLock(): ImportContext {
    return {
      transaction: this.#transaction,
      source: this.#source,
      options: this.#options,
      now: new Date(),
      report: (reason, detail) => {
        this.#problems.push({ file: this.#source.records?.name ?? this.#source.externalId, line: null, reason, detail });
      },
    };
  }

  async #importRecords(
    { reader, state, last }: SessionJob,
    row: ImportedSession,
    created: boolean,
    hashes: Record<string, string>,
  ): Promise<RecordGain | null> {
    const { records } = this.#source;
    const { dryRun } = this.#options;
    if (records === null || reader === null) return null;
    if (last.hashes[RESERVED.unfinished] !== undefined && !dryRun) {
      await this.#transaction.rows(Prisma.sql`
        delete from aria_engine.import_lines where session_id = ${row.id}::uuid
          and line = (select max(line) from aria_engine.import_lines where session_id = ${row.id}::uuid)`);
    }
    const gain = await importRecords(records, reader, state, { transaction: this.#transaction, row, created, dryRun });
    this.#recordsRead = reader.recordsRead;
    hashes[RESERVED.records] = recordsEntry(reader.position, state === 'rewritten' || last.rewritten);
    if (reader.unfinished === null) delete hashes[RESERVED.unfinished];
    else hashes[RESERVED.unfinished] = hashValue(reader.unfinished.raw);
    return gain;
  }

  /** Locks the session, and creates it first if there is none. In a dry run only reads it. */
  async #lock(last: LastImport): Promise<{ readonly row: ImportedSession; readonly created: boolean }> {
    const { id, agentId } = this.#source;
    const { dryRun } = this.#options;
    const current = await readSessionRow(this.#transaction, id, { lock: !dryRun });
    if (current === null && Object.keys(last.hashes).length > 0) throw new ConcurrentChangeError();
    const row = current ?? emptySessionRow(id, agentId, new Date());
    if (dryRun) return { row, created: current === null };
    if (current === null) {
      if (!(await insertSessionRow(this.#transaction, row))) throw new ConcurrentChangeError();
      // Rows of an earlier session with this id describe messages that no longer exist.
      await this.#transaction.rows(Prisma.sql`delete from aria_engine.import_lines where session_id = ${id}::uuid`);
      await this.#transaction.rows(Prisma.sql`delete from aria_engine.import_sources where session_id = ${id}::uuid`);
    }
    const { refusal, hashes } = await readLastImport(this.#transaction, this.#source);
    if (refusal !== null || canonicalJson(hashes) !== canonicalJson(last.hashes)) throw new ConcurrentChangeError();
    return { row, created: current === null };
  }

  async #save({ transaction, now }: ImportContext, { before, merged, gain, created, newParentId }: SessionChange): Promise<SessionOutcome> {
    const changed = [...merged.changed];
    if (merged.row.supersededAt?.getTime() !== before.supersededAt?.getTime()) changed.push('supersededAt');
    if (newParentId !== null && !changed.includes('parent')) changed.push('parent');
    const raisesVersion = !created && (changed.length > 0 || merged.statusChanged);
    const row = raisesVersion ? { ...merged.row, version: before.version + 1 } : merged.row;
    const sessionChanged = created || !isSameSession(before, row);
    const anythingChanged = sessionChanged || (gain?.recordsWritten ?? 0) > 0 || !isSameActivity(before, row);
    const result = created ? 'created' : anythingChanged ? 'updated' : 'unchanged';
    if (this.#options.dryRun) return this.#outcome(result, gain);
    const written = created ? row : withUpdatedAt(row, now);
    if (sessionChanged) await updateSessionRow(transaction, written, this.#externalId());
    else if (anythingChanged) await updateActivityRow(transaction, written);
    const parent = newParentId === null ? {} : { parentId: newParentId };
    const events: TypedEvent[] = [];
    if (created) events.push({ type: 'CREATED', payload: parent });
    else if (anythingChanged) {
      // New messages have events of their own, which say that the counters changed.
      const hasMessages = (gain?.messages ?? 0) > 0;
      const updated = hasMessages ? changed : [...changed, ...changedCounters(before, row)];
      const isSilent = updated.length === 0 && !hasMessages && !merged.statusChanged;
      if (isSilent) updated.push('updatedAt');
      if (updated.length > 0) events.push({ type: 'UPDATED', payload: { changed: updated, ...parent } });
      if (merged.statusChanged) events.push(statusChanged(before, row, now));
    }
    await writeEvents(transaction, row, events);
    await saveImport(transaction, this.#source, merged.hashes);
    return this.#outcome(result, gain);
  }

  #externalId(): string | null {
    return parseUuid(this.#source.externalId) === null ? this.#source.externalId : null;
  }

  #outcome(result: SessionOutcome['result'], gain: RecordGain | null, reason?: string): SessionOutcome {
    return {
      result,
      ...(reason === undefined ? {} : { reason }),
      recordsRead: this.#recordsRead,
      recordsWritten: gain?.recordsWritten ?? 0,
      messagesWritten: gain?.messages ?? 0,
      replacedCharacters: gain?.replacedCharacters ?? 0,
      problems: [...(gain?.problems ?? []), ...this.#problems],
    };
  }
}

/** Whether there is a next record, or an unfinished last record is no longer the same as at the last import. */
async function hasNewRecords(reader: RecordReader, hashes: FieldHashes): Promise<boolean> {
  if ((await reader.peek()) !== null) return true;
  const { unfinished } = reader;
  return (unfinished === null ? undefined : hashValue(unfinished.raw)) !== hashes[RESERVED.unfinished];
}
