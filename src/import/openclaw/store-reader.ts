import { readFile } from 'node:fs/promises';
import json5 from 'json5';
import { canonicalKey, type KeyRules } from '../../modules/session-key/session-key.rules.ts';
import { isJsonObject } from '../../modules/text/text.input.ts';
import type { JsonObject } from '../source.ts';
import { isNestedDeeper, TextRepair } from '../text-repair.ts';

/** One entry of a store: all that it says of one session id. */
export interface StoreEntry {
  readonly sessionId: string;
  /** Canonical. */
  readonly key: string;
  /** The agent of the key; null for `global` and `unknown`. */
  readonly agentId: string | null;
  /** Further canonical keys under which the store has the same session. */
  readonly otherKeys: readonly string[];
  /** The fields, storable, under their present names. */
  readonly fields: JsonObject;
}

/** An entry that says of no session, and why. */
interface StoreProblem {
  readonly reason: string;
  /** Its key as it stands in the store. */
  readonly detail: string;
}

/** A store as it was read. */
export interface ReadStore {
  readonly entries: readonly StoreEntry[];
  /** Entries in the file, of which several can be one session. */
  readonly entryCount: number;
  readonly problems: readonly StoreProblem[];
  readonly replacedCharacters: number;
}

const DEEPEST = 500;

const RENAMED = [
  ['provider', 'channel'],
  ['lastProvider', 'lastChannel'],
  ['room', 'groupChannel'],
] as const;

/**
 * Reads a store (`sessions.json`, JSON or JSON5) into one entry a session.
 * Raw keys with one canonical key are merged, and so are keys of one session id: field by field, the entry updated last winning.
 * @param ownerAgentId the agent whose store it is: bare keys are its own
 * @throws Error where the file cannot be read or holds no object
 */
export async function readStore(path: string, ownerAgentId: string, rules: KeyRules): Promise<ReadStore> {
  const repair = new TextRepair();
  const parsed = repair.json(parseStore(await readFile(path, 'utf8')));
  if (!isJsonObject(parsed)) throw new Error('The store is not an object of session entries.');
  const problems: StoreProblem[] = [];
  const byKey = new Map<string, StoreEntry>();
  for (const [raw, value] of Object.entries(parsed)) {
    const entry = readEntry(raw, value, ownerAgentId, rules);
    if ('reason' in entry) {
      problems.push(entry);
      continue;
    }
    const other = byKey.get(entry.key);
    if (other !== undefined) problems.push({ reason: 'keys merged', detail: `${raw} is ${entry.key}` });
    byKey.set(entry.key, other === undefined ? entry : merge(entry, other, []));
  }
  const bySession = new Map<string, StoreEntry>();
  for (const entry of byKey.values()) {
    const other = bySession.get(entry.sessionId);
    bySession.set(entry.sessionId, other === undefined ? entry : mergeKeys(entry, other));
  }
  return { entries: [...bySession.values()], entryCount: Object.keys(parsed).length, problems, replacedCharacters: repair.replaced };
}

function parseStore(text: string): unknown {
  const parsed = parseLeniently(text.replace(/^\ufeff/, ''));
  if (isNestedDeeper(parsed, DEEPEST)) throw new Error(`The store is nested deeper than ${DEEPEST} levels.`);
  return parsed;
}

function parseLeniently(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return json5.parse(text);
  }
}

function readEntry(raw: string, value: unknown, ownerAgentId: string, rules: KeyRules): StoreEntry | StoreProblem {
  if (!isJsonObject(value)) return { reason: 'store entry is not an object', detail: raw };
  const { sessionId, ...rest } = value;
  if (typeof sessionId !== 'string' || sessionId.trim() === '') return { reason: 'store entry without a session id', detail: raw };
  const { key, agentId } = canonicalKey(raw, rules, ownerAgentId);
  if (key === '') return { reason: 'store entry without a key', detail: sessionId };
  const fields: Record<string, unknown> = { ...rest };
  for (const [old, name] of RENAMED) {
    if (fields[old] === undefined || fields[name] !== undefined) continue;
    fields[name] = fields[old];
    delete fields[old];
  }
  return { sessionId: sessionId.trim(), key, agentId, otherKeys: [], fields };
}

function updatedAt({ fields }: StoreEntry): number {
  return typeof fields.updatedAt === 'number' ? fields.updatedAt : 0;
}

function merge(one: StoreEntry, other: StoreEntry, otherKeys: readonly string[]): StoreEntry {
  const [older, newer] = updatedAt(one) < updatedAt(other) ? [one, other] : [other, one];
  return { ...newer, otherKeys, fields: { ...older.fields, ...newer.fields } };
}

/** A cron job's key and that of its run have one session: the job's is the one to find it by. */
function mergeKeys(one: StoreEntry, other: StoreEntry): StoreEntry {
  const keys = [one, other].sort(
    (a, b) => Number(isCronRun(a.key)) - Number(isCronRun(b.key)) || updatedAt(b) - updatedAt(a) || (a.key < b.key ? -1 : 1),
  );
  const [first = one, second = other] = keys;
  const otherKeys = [...first.otherKeys, second.key, ...second.otherKeys].sort();
  return { ...merge(one, other, otherKeys), key: first.key, agentId: first.agentId };
}

function isCronRun(key: string): boolean {
  return /:cron:[^:]+:run:[^:]+$/.test(key);
}
