import { type ClientBase, DatabaseError } from 'pg';
import type { EventPayloads, EventType, EventUsage } from '../events/event-payload.ts';
import { parseUuid } from '../modules/global-id/global-id.rules.ts';
import { isTerminal } from '../modules/session/session.rules.ts';
import { canonicalKey, type KeyRules } from '../modules/session-key/session-key.rules.ts';
import { canonicalJson, decideField, type FieldHashes, hashValue } from './field-merge.ts';
import type { ImportProblem, SessionOutcome } from './import-report.ts';
import type { SourceFields, SourceSession } from './import-source.ts';
import { importUsage } from './imported-usage.ts';
import { withCompaction, withFacts, withGain } from './session-gain.ts';
import { type MergedSession, mergeSession } from './session-merge.ts';
import {
  emptySessionRow,
  insertSessionRow,
  isSameActivity,
  isSameSession,
  readSessionRow,
  type SessionRow,
  updateActivityRow,
  updateSessionRow,
} from './session-row.ts';
import { TranscriptCursor } from './transcript-cursor.ts';
import { importTranscript, type TranscriptGain, type TranscriptState } from './transcript-import.ts';

/** How sessions are written. */
export interface ImportWriterOptions {
  readonly rules: KeyRules;
  /** A session WORKING or SPAWNING without activity for so long comes in STALLED. */
  readonly stalledAfterMs: number;
  /** Reads and compares, and writes nothing. */
  readonly dryRun: boolean;
  /** Canonical keys at the source, by the UUID of the session that has them. */
  readonly keysAtSource: ReadonlyMap<string, string>;
}

/** What was there at the last import of a session. */
interface KnownImport {
  /** Why it must not be imported, if so. */
  readonly refusal: string | null;
  readonly hashes: FieldHashes;
  readonly transcript: { readonly lines: number; readonly digest: string; readonly rewritten: boolean };
}

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

const MAX_ATTEMPTS = 5;

/** unique and foreign key violation, serialization failure, deadlock: somebody wrote beside us, and the next look sees it. */
const PASSING_FAULTS = new Set(['23505', '23503', '40001', '40P01']);

/** Entries of the recorded hashes that are no field of the session. */
const SOURCE = '$source';
const TRANSCRIPT = '$transcript';
const USAGE = '$usage';
const SUPERSEDED = '$superseded';
const UNFINISHED = '$unfinished';

const EXTRA_KEY = 'sessionKey';
const EXTRA_LABEL = 'label';

const RESET_REASON = 'reset';

/** The state read without a lock is no longer that under the lock. */
class ChangedMeanwhileError extends Error {
  override readonly name = 'ChangedMeanwhileError';
}

/**
 * Brings one session to what its source says, in one transaction: makes it, adds the lines and messages that are new, and changes the
 * fields that changed at the source and were not edited here. Safe beside live writers and other imports.
 * @param client a connection of its own, outside any transaction
 * @throws the errors of pg and of reading the transcript; nothing of the session is then written
 */
export async function writeSession(client: ClientBase, source: SourceSession, options: ImportWriterOptions): Promise<SessionOutcome> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await new SessionImport(client, source, options).run();
    } catch (error) {
      const passing = error instanceof ChangedMeanwhileError || (error instanceof DatabaseError && PASSING_FAULTS.has(error.code ?? ''));
      if (!passing || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

class SessionImport {
  readonly #client: ClientBase;
  readonly #source: SourceSession;
  readonly #options: ImportWriterOptions;
  readonly #problems: ImportProblem[] = [];
  readonly #now = new Date();
  #linesRead = 0;

  constructor(client: ClientBase, source: SourceSession, options: ImportWriterOptions) {
    this.#client = client;
    this.#source = source;
    this.#options = options;
  }

  async run(): Promise<SessionOutcome> {
    const known = await this.#readKnown();
    if (known.refusal !== null) return this.#outcome('skipped', null, known.refusal);
    const { fields, times, fallbackUsage, parent, transcript } = this.#source;
    const parentId = parent == null ? null : (parent.id ?? (await this.#findByKey(parent.key)));
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
    if (!news && known.hashes[SOURCE] === sourceHash) return this.#outcome('unchanged', null);
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
    const hashes: Record<string, string> = { ...known.hashes, [SOURCE]: sourceHash };
    const gain = await this.#importLines(job, before, created, hashes);
    let row = withGain(before, gain, this.#source.times, created, this.#now);
    const usage = importUsage(row, hashes[USAGE], gain?.usage ?? null, this.#source.fallbackUsage);
    if (usage.record !== undefined) hashes[USAGE] = usage.record;
    row = withCompaction({ ...row, ...usage.totals }, gain, hashes, created);
    const revived = before.supersededAt !== null && hashes[SUPERSEDED] !== undefined && this.#source.fields.key != null;
    if (revived) {
      delete hashes[SUPERSEDED];
      row = { ...row, supersededAt: null };
    }
    const named = await this.#claimNames(row, withFacts(row, this.#source.fields, gain), hashes, created || revived);
    const linked = await this.#link(row, named.fields, hashes, parentId, created);
    const merged = mergeSession(linked.row, linked.fields, hashes, {
      rules: this.#options.rules,
      now: this.#now,
      stalledAfterMs: this.#options.stalledAfterMs,
      created,
      protectedExtra: named.protectedExtra,
    });
    if (merged.keptEdits.length > 0) this.#report('edited here, kept', merged.keptEdits.join(', '));
    return this.#save(before, merged, gain, created, linked.parentId);
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
    if (known.hashes[UNFINISHED] !== undefined && !dryRun) {
      await this.#client.query(
        `delete from aria_engine.import_lines where session_id = $1
         and line = (select max(line) from aria_engine.import_lines where session_id = $1)`,
        [row.id],
      );
    }
    const gain = await importTranscript(transcript, cursor, state, { client: this.#client, row, created, dryRun });
    this.#linesRead = cursor.linesRead;
    const rewritten = state === 'rewritten' || known.transcript.rewritten;
    hashes[TRANSCRIPT] = `${cursor.linesRead}:${cursor.digest()}:${rewritten ? 1 : 0}`;
    if (cursor.unfinished === null) delete hashes[UNFINISHED];
    else hashes[UNFINISHED] = hashValue(cursor.unfinished.raw);
    return gain;
  }

  async #readKnown(): Promise<KnownImport> {
    const { rows } = await this.#client.query<{ hashes: FieldHashes | null; foreign: boolean | null; trashed: boolean; gone: boolean }>(
      `select (select i.field_hashes from aria_engine.import_sources i join aria_engine.chat_sessions s on s.id = i.session_id
           where i.session_id = $1) as hashes,
         (select coalesce(i.agent_id <> $2, s.agent_id <> $3) from aria_engine.chat_sessions s
           left join aria_engine.import_sources i on i.session_id = s.id where s.id = $1) as "foreign",
         exists(select from aria_engine.chat_sessions where id = $1 and deleted_at is not null) as trashed,
         exists(select from aria_engine.session_tombstones where session_id = $1) as gone`,
      [this.#source.id, this.#source.ownerAgentId, this.#source.agentId],
    );
    const hashes = rows[0]?.hashes ?? {};
    const [lines = '0', digest, rewritten] = hashes[TRANSCRIPT]?.split(':') ?? [];
    const { gone = false, trashed = false, foreign = false } = rows[0] ?? {};
    return {
      refusal: gone
        ? 'removed for good here'
        : trashed
          ? 'in the trash here'
          : foreign
            ? 'its id is that of a session of another agent'
            : null,
      hashes,
      transcript: { lines: Number(lines), digest: digest ?? EMPTY_DIGEST, rewritten: rewritten === '1' },
    };
  }

  async #lock(known: KnownImport): Promise<{ readonly row: SessionRow; readonly created: boolean }> {
    const { id, agentId } = this.#source;
    const { dryRun } = this.#options;
    const standing = await readSessionRow(this.#client, id, { lock: !dryRun });
    if (standing === null && Object.keys(known.hashes).length > 0) throw new ChangedMeanwhileError();
    const row = standing ?? emptySessionRow(id, agentId, this.#now);
    if (dryRun) return { row, created: standing === null };
    if (standing === null) {
      if (!(await insertSessionRow(this.#client, row))) throw new ChangedMeanwhileError();
      // What an earlier session of this id left behind speaks of messages that are gone.
      await this.#client.query('delete from aria_engine.import_lines where session_id = $1', [id]);
      await this.#client.query('delete from aria_engine.import_sources where session_id = $1', [id]);
    }
    const { refusal, hashes } = await this.#readKnown();
    if (refusal !== null || canonicalJson(hashes) !== canonicalJson(known.hashes)) throw new ChangedMeanwhileError();
    return { row, created: standing === null };
  }

  /** Takes key and label where nobody else has them; else they go to `extra`. */
  async #claimNames(
    row: SessionRow,
    fields: SourceFields,
    hashes: Record<string, string>,
    anew: boolean,
  ): Promise<{ readonly fields: SourceFields; readonly protectedExtra: readonly string[] }> {
    const { key, label } = fields;
    const extra: Record<string, unknown> = { ...fields.extra };
    const taken: { key?: null | undefined; label?: undefined } = {};
    const live = row.supersededAt === null;
    const wants = (name: 'key' | 'label') => live && (anew || decideField(hashes[name], row[name], fields[name]) === 'apply');
    if (key != null && wants('key') && !(await this.#freeKey(row, key))) {
      extra[EXTRA_KEY] = key;
      // A session that comes back to the front must not bring a key somebody else has by now.
      taken.key = row.key === key ? null : undefined;
      hashes.key = hashValue(key);
      this.#report('key taken by another session', key);
    }
    if (label != null && wants('label') && (await this.#findHolder(row, 'label', label)) !== null) {
      extra[EXTRA_LABEL] = label;
      taken.label = undefined;
      hashes.label = hashValue(label);
      this.#report('label taken by another session', label);
    }
    const protectedExtra = [...(key == null ? [] : [EXTRA_KEY]), ...(label == null ? [] : [EXTRA_LABEL])];
    return { fields: { ...fields, ...taken, ...(fields.extra === undefined ? {} : { extra }) }, protectedExtra };
  }

  async #findHolder(row: SessionRow, column: 'key' | 'label', value: string): Promise<string | null> {
    const { rows } = await this.#client.query<{ id: string }>(
      `select id from aria_engine.chat_sessions
       where agent_id = $1 and ${column} = $2 and id <> $3 and deleted_at is null and superseded_at is null`,
      [row.agentId, value, row.id],
    );
    return rows[0]?.id ?? null;
  }

  async #findByKey(key: string): Promise<string | null> {
    const { agentId } = canonicalKey(key, this.#options.rules);
    const { rows } = await this.#client.query<{ id: string }>(
      `select id from aria_engine.chat_sessions
       where key = $1 and agent_id = coalesce($2, agent_id) and deleted_at is null and superseded_at is null order by id limit 1`,
      [key, agentId],
    );
    return rows[0]?.id ?? null;
  }

  /**
   * Makes a key free that the source has given to this session. The session that had it from the source becomes history, as after a reset,
   * or gives it up where the source has another key for it. @returns false where it did not come from the source
   */
  async #freeKey(row: SessionRow, key: string): Promise<boolean> {
    const holderId = await this.#findHolder(row, 'key', key);
    if (holderId === null) return true;
    const { rows } = await this.#client.query<{ hashes: FieldHashes }>(
      'select field_hashes as hashes from aria_engine.import_sources where session_id = $1 and system = $2',
      [holderId, this.#source.system],
    );
    const hashes = rows[0]?.hashes;
    if (hashes === undefined || hashes.key !== hashValue(key)) return false;
    if (this.#options.dryRun) return true;
    const holder = await readSessionRow(this.#client, holderId, { lock: true });
    if (holder === null || holder.key !== key || holder.supersededAt !== null) throw new ChangedMeanwhileError();
    const version = holder.version + 1;
    const { [SOURCE]: _outdated, ...kept } = hashes;
    if (this.#options.keysAtSource.has(holderId)) {
      await updateSessionRow(this.#client, { ...holder, key: null, version, updatedAt: this.#now }, null);
      await this.#event(holder, 'UPDATED', { changed: ['key'] });
      await this.#saveHashes(holderId, { ...kept, key: hashValue(null) });
      return true;
    }
    const open = !isTerminal(holder.status);
    const end = open ? ({ status: 'ENDED', statusReason: RESET_REASON, endedAt: holder.lastActivityAt } as const) : {};
    const ended: SessionRow = { ...holder, ...end, version, supersededAt: this.#now, updatedAt: this.#now };
    await updateSessionRow(this.#client, ended, null);
    if (open) await this.#statusEvent(holder, ended);
    else await this.#event(holder, 'UPDATED', { changed: ['supersededAt'] });
    const recorded: Record<string, string> = { ...kept, [SUPERSEDED]: 'import' };
    if (open) recorded.status = hashValue([ended.status, ended.statusReason, ended.endedAt]);
    await this.#saveHashes(holderId, recorded);
    return true;
  }

  /** A parent is set once; one that is not there goes to `extra`. */
  async #link(
    row: SessionRow,
    fields: SourceFields,
    hashes: Record<string, string>,
    parentId: string | null,
    created: boolean,
  ): Promise<{ readonly row: SessionRow; readonly fields: SourceFields; readonly parentId: string | null }> {
    const { parent } = this.#source;
    if (parent == null) return { row, fields, parentId: null };
    const dangling = { ...fields, extra: { ...fields.extra, [parent.extraName]: parent.raw } };
    if (parentId === null || row.parentId !== null)
      return { row, fields: parentId !== null && row.parentId === parentId ? fields : dangling, parentId: null };
    const decision = created ? 'apply' : decideField(hashes.parent, row.parentId, parentId);
    if (decision !== 'apply') return { row, fields, parentId: null };
    if (!this.#options.dryRun && !(await this.#canBeParent(row.id, parentId, created))) {
      this.#report('parent not linked', parent.raw);
      return { row, fields: dangling, parentId: null };
    }
    hashes.parent = hashValue(parentId);
    return { row: { ...row, parentId }, fields, parentId };
  }

  /** Whether there is such a session and this one is not among its ancestors; an old session could otherwise close a circle. */
  async #canBeParent(id: string, parentId: string, created: boolean): Promise<boolean> {
    let line = await this.#readLine(parentId);
    for (let locked = created ? line.join() : ''; locked !== line.join(); ) {
      // Whoever gives one of them another parent locks it first: the line cannot change any more.
      locked = line.join();
      await this.#client.query('select from aria_engine.chat_sessions where id = any($1::uuid[]) order by id for no key update', [line]);
      line = await this.#readLine(parentId);
    }
    return line.length > 0 && !line.includes(id);
  }

  /** A session and its ancestors, from the bottom up. */
  async #readLine(id: string): Promise<readonly string[]> {
    const { rows } = await this.#client.query<{ id: string }>(
      `with recursive line as (
         select id, parent_id from aria_engine.chat_sessions where id = $1
         union
         select s.id, s.parent_id from line join aria_engine.chat_sessions s on s.id = line.parent_id
       )
       select id from line`,
      [id],
    );
    return rows.map(row => row.id);
  }

  async #save(
    before: SessionRow,
    merged: MergedSession,
    gain: TranscriptGain | null,
    created: boolean,
    newParentId: string | null,
  ): Promise<SessionOutcome> {
    const changed = [...merged.changed];
    if (merged.row.supersededAt?.getTime() !== before.supersededAt?.getTime()) changed.push('supersededAt');
    if (newParentId !== null && !changed.includes('parent')) changed.push('parent');
    const told = !created && (changed.length > 0 || merged.statusChanged);
    const row = told ? { ...merged.row, version: before.version + 1 } : merged.row;
    const sessionMoved = created || !isSameSession(before, row);
    const moved = sessionMoved || (gain?.linesWritten ?? 0) > 0 || !isSameActivity(before, row);
    const result = created ? 'created' : moved ? 'updated' : 'unchanged';
    if (this.#options.dryRun) return this.#outcome(result, gain);
    const stamped = created ? row : { ...row, updatedAt: this.#now };
    if (sessionMoved) await updateSessionRow(this.#client, stamped, this.#externalId());
    else if (moved) await updateActivityRow(this.#client, stamped);
    const parent = newParentId === null ? {} : { parentId: newParentId };
    if (created) await this.#event(row, 'CREATED', parent);
    if (!created && changed.length > 0) await this.#event(row, 'UPDATED', { changed, ...parent });
    if (!created && merged.statusChanged) await this.#statusEvent(before, row);
    await this.#saveHashes(row.id, merged.hashes);
    return this.#outcome(result, gain);
  }

  #externalId(): string | null {
    return parseUuid(this.#source.externalId) === null ? this.#source.externalId : null;
  }

  async #saveHashes(sessionId: string, hashes: FieldHashes): Promise<void> {
    const { system, ownerAgentId, externalId } = this.#source;
    await this.#client.query(
      `insert into aria_engine.import_sources (session_id, system, agent_id, external_id, field_hashes) values ($1, $2, $3, $4, $5::jsonb)
       on conflict (session_id) do update set field_hashes = excluded.field_hashes, imported_at = current_timestamp`,
      [sessionId, system, ownerAgentId, externalId, JSON.stringify(hashes)],
    );
  }

  async #event<Type extends EventType>(session: SessionRow, type: Type, payload: EventPayloads[Type]): Promise<void> {
    await this.#client.query(
      'insert into aria_engine.session_events (session_id, agent_id, type, payload) values ($1, $2, $3::aria_engine.session_event_type, $4::jsonb)',
      [session.id, session.agentId, type, JSON.stringify(payload)],
    );
  }

  async #statusEvent(from: SessionRow, to: SessionRow): Promise<void> {
    const usage: EventUsage = {
      inputTokens: Number(to.inputTokens),
      outputTokens: Number(to.outputTokens),
      cacheReadTokens: Number(to.cacheReadTokens),
      cacheWriteTokens: Number(to.cacheWriteTokens),
      totalTokens: Number(to.totalTokens),
      costNanoUsd: Number(to.costNanoUsd),
    };
    const idleMs = Math.max(0, this.#now.getTime() - from.lastActivityAt.getTime());
    await this.#event(to, 'STATUS_CHANGED', { from: from.status, to: to.status, reason: to.statusReason, usage, idleMs });
  }

  #report(reason: string, detail: string): void {
    this.#problems.push({ file: this.#source.transcript?.name ?? this.#source.externalId, line: null, reason, detail });
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
  return (unfinished === null ? undefined : hashValue(unfinished.raw)) !== hashes[UNFINISHED];
}

/** SHA-256 of no lines at all. */
const EMPTY_DIGEST = '47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU';
