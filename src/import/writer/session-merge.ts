import { effectiveTitle, isTerminal, type SessionStatus } from '../../modules/session/session.rules.ts';
import { type KeyRules, sessionKind } from '../../modules/session-key/session-key.rules.ts';
import type { JsonObject, SourceFields, SourceStatus } from '../source.ts';
import { decideField, type FieldHashes, hashValue } from './field-merge.ts';
import type { SessionColumn, SessionRow } from './session-row.ts';

/** A session after a merge. */
export interface MergedSession {
  readonly row: SessionRow;
  /** GraphQL names of the session's fields that changed; status, reason and end are not among them. */
  readonly changed: readonly string[];
  readonly statusChanged: boolean;
  /** Hashes of all that the source speaks of now. */
  readonly hashes: FieldHashes;
  /** Names of fields that changed at the source and were left as they are because somebody edited them here. */
  readonly keptEdits: readonly string[];
}

/** What a merge needs besides the two sides. */
export interface MergeOptions {
  readonly rules: KeyRules;
  readonly now: Date;
  /** A session WORKING or SPAWNING without activity for so long comes in STALLED. */
  readonly stalledAfterMs: number;
  /** Nothing stands here yet: all is taken. */
  readonly created: boolean;
  /** Names in `extra` that are not gone although the source does not name them. */
  readonly protectedExtra: readonly string[];
}

/** Fields that are one column each, taken or left alone as a whole. */
const PLAIN_FIELDS = [
  'key',
  'label',
  'givenTitle',
  'displayName',
  'subject',
  'category',
  'channel',
  'model',
  'modelProvider',
  'archivedAt',
  'pinnedAt',
  'origin',
  'delivery',
  'contextUsed',
] as const satisfies readonly (keyof SourceFields & keyof SessionRow)[];

const MAPS = [
  { column: 'settings', source: 'settings', prefix: 'settings.' },
  { column: 'settingsExtra', source: 'extra', prefix: 'extra.' },
  { column: 'metadata', source: 'metadata', prefix: 'metadata.' },
] as const;

/** Columns whose change is told as another field's, or not at all. */
const TOLD_AS: Readonly<Partial<Record<SessionColumn, string | null>>> = {
  status: null,
  statusReason: null,
  endedAt: null,
  version: null,
  compactedThrough: null,
  derivedTitle: null,
  settingsExtra: 'settings',
  parentId: 'parent',
};

const TOLD: readonly SessionColumn[] = [
  'key',
  'kind',
  'title',
  'givenTitle',
  'label',
  'displayName',
  'subject',
  'category',
  'channel',
  'model',
  'modelProvider',
  'settings',
  'settingsExtra',
  'origin',
  'delivery',
  'metadata',
  'parentId',
  'compactionCount',
  'archivedAt',
  'pinnedAt',
  'supersededAt',
];

/**
 * Brings a session to what its source says now: field by field, only where the source has changed since the hashes were taken and
 * nobody has changed the field here.
 * @param before as it stands, with what the transcript added already counted in
 * @param fields names already free to take
 */
export function mergeSession(before: SessionRow, fields: SourceFields, hashes: FieldHashes, options: MergeOptions): MergedSession {
  const merge = new SessionMerge(before, hashes, options);
  for (const field of PLAIN_FIELDS) {
    if (fields[field] !== undefined) merge.field(field, before[field], fields[field], value => ({ [field]: value ?? null }));
  }
  if (fields.compactionCount !== undefined) {
    // Zero is what stands where no source has spoken of it.
    merge.field('compactionCount', before.compactionCount || null, fields.compactionCount || null, count => ({
      compactionCount: count ?? 0,
    }));
  }
  for (const map of MAPS) merge.map(map, fields[map.source], before[map.column], fields.complete === true);
  if (fields.status !== undefined) merge.status(fields.status);
  return merge.finish();
}

class SessionMerge {
  readonly #before: SessionRow;
  readonly #recorded: FieldHashes;
  readonly #options: MergeOptions;
  readonly #hashes: Record<string, string>;
  readonly #keptEdits: string[] = [];
  #row: SessionRow;

  constructor(before: SessionRow, recorded: FieldHashes, options: MergeOptions) {
    this.#before = before;
    this.#row = before;
    this.#recorded = recorded;
    this.#hashes = { ...recorded };
    this.#options = options;
  }

  field<Value>(name: string, stored: unknown, source: Value, apply: (value: Value) => Partial<SessionRow>): void {
    if (this.#decide(name, stored, source)) this.#row = { ...this.#row, ...apply(source) };
  }

  map({ column, source, prefix }: (typeof MAPS)[number], stated: JsonObject | undefined, stored: JsonObject, complete: boolean): void {
    if (stated === undefined) return;
    const values = new Map(Object.entries(stored));
    const known = Object.keys(this.#recorded).filter(name => name.startsWith(prefix));
    // Metadata come from the transcript too, which says only what is new.
    const gone =
      !complete || source === 'metadata' ? [] : known.map(name => name.slice(prefix.length)).filter(name => !Object.hasOwn(stated, name));
    const kept = source === 'extra' ? this.#options.protectedExtra : [];
    for (const name of gone.filter(name => !kept.includes(name))) {
      if (this.#decide(prefix + name, stored[name], null)) values.delete(name);
    }
    for (const [name, value] of Object.entries(stated)) {
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
    // A stall is no edit: it says only that the source has been silent.
    const stored = status === 'STALLED' ? ['WORKING', null, null] : [status, statusReason, storedEnd];
    if (!this.#decide('status', stored, [source.status, source.reason, endedAt])) return;
    const silent = now.getTime() - this.#row.lastActivityAt.getTime() > stalledAfterMs;
    const entered: SessionStatus = silent && (source.status === 'WORKING' || source.status === 'SPAWNING') ? 'STALLED' : source.status;
    this.#row = { ...this.#row, status: entered, statusReason: source.reason, endedAt };
  }

  finish(): MergedSession {
    const { rules, created } = this.#options;
    const before = this.#before;
    const chatType = typeof this.#row.origin?.chatType === 'string' ? this.#row.origin.chatType : null;
    const kind = sessionKind(this.#row.key, chatType, rules);
    const type = created ? typeOfKind(kind) : this.#row.type;
    const title = effectiveTitle(this.#row);
    const row = { ...this.#row, kind, type, title };
    // A title that follows from a new message is no change of its own.
    const told = { ...before, title: effectiveTitle(before) };
    const changed = new Set<string>();
    for (const column of TOLD) {
      const name = TOLD_AS[column];
      if (name !== null && hashValue(row[column]) !== hashValue(told[column])) changed.add(name ?? column);
    }
    const statusChanged =
      row.status !== before.status || row.statusReason !== before.statusReason || row.endedAt?.getTime() !== before.endedAt?.getTime();
    return { row, changed: [...changed], statusChanged, hashes: this.#hashes, keptEdits: this.#keptEdits };
  }

  #decide(name: string, stored: unknown, source: unknown): boolean {
    const decision = this.#options.created ? 'apply' : decideField(this.#recorded[name], stored, source);
    if (source === null || source === undefined) delete this.#hashes[name];
    else this.#hashes[name] = hashValue(source);
    if (decision === 'keep edit') this.#keptEdits.push(name);
    return decision === 'apply';
  }
}

function typeOfKind(kind: SessionRow['kind']): string {
  return kind === 'CRON' || kind === 'SUBAGENT' ? kind.toLowerCase() : 'chat';
}
