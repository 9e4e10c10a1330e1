import { readFile } from 'node:fs/promises';
import json5 from 'json5';
import { canonicalKey, type KeyRules } from '../../modules/session-key/session-key.rules.ts';
import { isJsonObject } from '../../modules/text/text.input.ts';
import type { JsonObject } from '../source.ts';
import { isNestedDeeper, TextRepair } from '../text-repair.ts';

/** What a store says about one session id. */
export interface StoreEntry {
  readonly sessionId: string;
  /** In canonical form. */
  readonly key: string;
  /** The agent in the key; null for `global` and `unknown`. */
  readonly agentId: string | null;
  /** Other canonical keys under which the store has the same session. */
  readonly otherKeys: readonly string[];
  /** The fields under their current names, without characters that Postgres cannot store. */
  readonly fields: JsonObject;
}

/** A problem with a store entry, for the report. */
interface StoreProblem {
  readonly reason: string;
  /** The entry's key as in the store, or its session id if it has no key. */
  readonly detail: string;
}

/** The content of a store. */
export interface ReadStore {
  readonly entries: readonly StoreEntry[];
  /** Number of entries in the file; several entries can be one session. */
  readonly entryCount: number;
  readonly problems: readonly StoreProblem[];
  readonly replacedCharacters: number;
}

const DEEPEST = 500;

/** Old and current name of fields. */
const RENAMED = [
  ['provider', 'channel'],
  ['lastProvider', 'lastChannel'],
  ['room', 'groupChannel'],
] as const;

/**
 * Reads a store (`sessions.json`, JSON or JSON5) into one entry per session.
 * Entries with the same canonical key or the same session id are merged field by field; the entry updated last wins.
 * @param ownerAgentId the store's agent, to which keys without an agent belong
 * @throws Error if the file cannot be read, is not JSON5, or is not an object
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

/** A cron job and its current run share a session, which keeps the job's key. Else the key of the entry updated last wins. */
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
