import { ACTIVITY_COLUMNS, changedName, SESSION_COLUMNS } from '../../modules/session/session.columns.ts';
import { chatTypeOf, effectiveTitle, isTerminal, type SessionStatus } from '../../modules/session/session.rules.ts';
import { type KeyRules, sessionKind } from '../../modules/session-key/session-key.rules.ts';
import { fieldsWith } from '../../postgres/columns/columns.ts';
import type { JsonObject, SourceFields, SourceStatus } from '../source.ts';
import { decideField, type FieldHashes, hashValue } from './field-merge.ts';
import { CHANGEABLE_FIELDS, type ImportedSession } from './session-row.ts';

/** The result of a merge. */
export interface MergedSession {
  readonly row: ImportedSession;
  /** GraphQL names of the changed fields, for the UPDATED event. Status, reason and end are not among them. */
  readonly changed: readonly string[];
  readonly statusChanged: boolean;
  /** Hashes of the source's current values. */
  readonly hashes: FieldHashes;
  /** Names of fields that changed at the source but keep an edit that was made here. */
  readonly keptEdits: readonly string[];
}

/** Options of a merge. */
export interface MergeOptions {
  readonly rules: KeyRules;
  readonly now: Date;
  /** A WORKING or SPAWNING session becomes STALLED if its last activity is longer ago than this. */
  readonly stalledAfterMs: number;
  /** True if this import creates the session: then every field of the source is applied. */
  readonly created: boolean;
  /** Names in `extra` that stay even if the source no longer has them. */
  readonly protectedExtra: readonly string[];
}

/** Fields whose value is applied or kept as a whole. */
const COPIED_FIELDS = [...fieldsWith(SESSION_COLUMNS, 'imported', 'copied'), ...fieldsWith(ACTIVITY_COLUMNS, 'imported', 'copied')];

/** Objects that are merged key by key. Each key has a hash of its own, named with the prefix. */
const MAPS = [
  { column: 'settings', source: 'settings', prefix: 'settings.' },
  { column: 'settingsExtra', source: 'extra', prefix: 'extra.' },
  { column: 'metadata', source: 'metadata', prefix: 'metadata.' },
] as const;

/**
 * Merges the source's fields into a session. A field is applied only if the source changed it since the last import and nobody edited it here.
 * @param before the session as stored, with the new messages already counted
 * @param fields the source's fields; key and label must be free to use
 * @param hashes the source's values at the last import
 */
export function mergeSession(before: ImportedSession, fields: SourceFields, hashes: FieldHashes, options: MergeOptions): MergedSession {
  const merge = new SessionMerge(before, hashes, options);
  for (const field of COPIED_FIELDS) {
    if (fields[field] !== undefined) merge.field(field, before[field], fields[field], value => ({ [field]: value ?? null }));
  }
  if (fields.compactionCount !== undefined) {
    // A stored zero means that no source has set the count yet.
    merge.field('compactionCount', before.compactionCount || null, fields.compactionCount || null, count => ({
      compactionCount: count ?? 0,
    }));
  }
  for (const map of MAPS) merge.map(map, fields[map.source], before[map.column], fields.complete === true);
  if (fields.status !== undefined) merge.status(fields.status);
  return merge.finish();
}

class SessionMerge {
  readonly #before: ImportedSession;
  readonly #recorded: FieldHashes;
  readonly #options: MergeOptions;
  readonly #hashes: Record<string, string>;
  readonly #keptEdits: string[] = [];
  #row: ImportedSession;

  constructor(before: ImportedSession, recorded: FieldHashes, options: MergeOptions) {
    this.#before = before;
    this.#row = before;
    this.#recorded = recorded;
    this.#hashes = { ...recorded };
    this.#options = options;
  }

  field<Value>(name: string, stored: unknown, source: Value, apply: (value: Value) => Partial<ImportedSession>): void {
    if (this.#decide(name, stored, source)) this.#row = { ...this.#row, ...apply(source) };
  }

  map({ column, source, prefix }: (typeof MAPS)[number], given: JsonObject | undefined, stored: JsonObject, complete: boolean): void {
    if (given === undefined) return;
    const values = new Map(Object.entries(stored));
    const known = Object.keys(this.#recorded).filter(name => name.startsWith(prefix));
    // Metadata also comes from new transcript records, so a missing key does not mean that it was removed.
    const removed =
      !complete || source === 'metadata' ? [] : known.map(name => name.slice(prefix.length)).filter(name => !Object.hasOwn(given, name));
    const kept = source === 'extra' ? this.#options.protectedExtra : [];
    for (const name of removed.filter(name => !kept.includes(name))) {
      if (this.#decide(prefix + name, stored[name], null)) values.delete(name);
    }
    for (const [name, value] of Object.entries(given)) {
      if (!this.#decide(prefix + name, stored[name], value)) continue;
      if (value === null || value === undefined) values.delete(name);
      else values.set(name, value);
    }
    this.#row = { ...this.#row, [column]: Object.fromEntries(values) };
  }

  status(source: SourceStatus): void {
    const { now, stalledAfterMs } = this.#options;
    const endedAt = isTerminal(source.status) ? (source.endedAt ?? this.#row.lastActivityAt) : null;
    const { status, statusReason, endedAt: storedEnd } = this.#before;
    // STALLED is no edit: the sweeper sets it if the source reports no activity.
    const stored = status === 'STALLED' ? ['WORKING', null, null] : [status, statusReason, storedEnd];
    if (!this.#decide('status', stored, [source.status, source.reason, endedAt])) return;
    const isInactive = now.getTime() - this.#row.lastActivityAt.getTime() > stalledAfterMs;
    const isWorking = source.status === 'WORKING' || source.status === 'SPAWNING';
    const next: SessionStatus = isInactive && isWorking ? 'STALLED' : source.status;
    this.#row = { ...this.#row, status: next, statusReason: source.reason, endedAt };
  }

  finish(): MergedSession {
    const { rules, created } = this.#options;
    const before = this.#before;
    const kind = sessionKind(this.#row.key, chatTypeOf(this.#row.origin), rules);
    const type = created ? typeOfKind(kind) : this.#row.type;
    const title = effectiveTitle(this.#row);
    const row = { ...this.#row, kind, type, title };
    // A title derived from a new message does not count as changed.
    const compared = { ...before, title: effectiveTitle(before) };
    const changed = new Set<string>();
    for (const field of CHANGEABLE_FIELDS) {
      const name = changedName(field);
      if (name !== null && hashValue(row[field]) !== hashValue(compared[field])) changed.add(name);
    }
    const statusChanged =
      row.status !== before.status || row.statusReason !== before.statusReason || row.endedAt?.getTime() !== before.endedAt?.getTime();
    return { row, changed: [...changed], statusChanged, hashes: this.#hashes, keptEdits: this.#keptEdits };
  }

  /** Decides whether a field is applied, and records the source's value. */
  #decide(name: string, stored: unknown, source: unknown): boolean {
    const decision = this.#options.created ? 'apply' : decideField(this.#recorded[name], stored, source);
    if (source === null || source === undefined) delete this.#hashes[name];
    else this.#hashes[name] = hashValue(source);
    if (decision === 'keep edit') this.#keptEdits.push(name);
    return decision === 'apply';
  }
}

function typeOfKind(kind: ImportedSession['kind']): string {
  return kind === 'CRON' || kind === 'SUBAGENT' ? kind.toLowerCase() : 'chat';
}
