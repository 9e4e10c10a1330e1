import { basename, join } from 'node:path';
import { parseUuid } from '../../global-id.ts';
import type { KeyRules } from '../../modules/session-key/session-key.rules.ts';
import { isJsonObject } from '../../modules/text/text.input.ts';
import { importedSessionId } from '../import-id.ts';
import { readLines } from '../lines/line-reader.ts';
import type { SourceReport } from '../report.ts';
import type { ImportSource, SourceSession } from '../source.ts';
import { readEntrySession, readParent } from './session-entry.ts';
import { findState, type SessionsFolder } from './state-folder.ts';
import { readStore, type StoreEntry } from './store-reader.ts';
import { openTranscript } from './transcript-reader.ts';

/** Part of the ids derived for imported sessions, and stored as the system they come from. */
const SYSTEM = 'openclaw';

/** Which OpenClaw sessions to import. */
export interface OpenClawOptions {
  /** A state folder, an agent's folder, a sessions folder, a store or a transcript. */
  readonly path: string;
  /** In a folder of several agents: the only agent to import. Else: the agent that the sessions belong to, null to take it from the path. */
  readonly agentId: string | null;
  readonly rules: KeyRules;
}

interface PlannedEntry {
  readonly entry: StoreEntry;
  readonly folder: SessionsFolder;
  readonly id: string;
  /** The transcript's file name; null if there is none. */
  readonly transcript: string | null;
}

/**
 * Opens the sessions of an OpenClaw installation: reads the stores and finds each entry's transcript. Of the transcripts, only the first
 * line is read now. A store that cannot be read is a failure in the report; its transcripts are imported without their store entries.
 * @throws NothingToImportError if there are no OpenClaw sessions at the path; errors of reading folders
 */
export async function openOpenClaw({ path, agentId, rules }: OpenClawOptions, report: SourceReport): Promise<ImportSource> {
  const state = await findState(path, agentId, rules.defaultAgent);
  for (const kind of ['agents', 'stores', 'entries', 'transcripts']) report.addRead(kind, 0);
  for (const { reason } of state.skipped) report.addSkipped(reason);
  const entries: PlannedEntry[] = [];
  const orphans: SourceSession[] = [];
  for (const folder of state.folders) {
    report.addRead('agents', 1);
    report.addRead('transcripts', folder.transcripts.length);
    for (const { reason } of folder.skipped) report.addSkipped(reason);
    const found = await planFolder(folder, rules, report);
    entries.push(...found.entries);
    orphans.push(...found.orphans);
  }
  const ids = new Map(entries.map(({ id, entry }) => [entry.key, id]));
  const sessions = [...orphans, ...parentsFirst(entries.map(planned => toSession(planned, ids, rules)))];
  return { sessions: () => sessions, sessionsWithKey: new Set(entries.map(({ id }) => id)) };
}

/** Orphans are transcripts without a store entry. */
async function planFolder(
  folder: SessionsFolder,
  rules: KeyRules,
  report: SourceReport,
): Promise<{ readonly entries: readonly PlannedEntry[]; readonly orphans: readonly SourceSession[] }> {
  const unclaimed = new Set(folder.transcripts);
  const ids = new Set<string>();
  const entries: PlannedEntry[] = [];
  for (const entry of await readEntries(folder, rules, report)) {
    const transcript = findTranscript(entry, unclaimed);
    if (transcript === null && folder.single) continue;
    if (transcript !== null) unclaimed.delete(transcript);
    const id = importedSessionId(SYSTEM, folder.agentId, entry.sessionId);
    ids.add(id);
    entries.push({ entry, folder, id, transcript });
    if (transcript === null)
      report.addProblem({
        file: join(folder.name, 'sessions.json'),
        line: null,
        reason: 'store entry without transcript',
        detail: entry.key,
      });
    else await checkHeader(folder, transcript, entry.sessionId, report);
  }
  const orphans: SourceSession[] = [];
  for (const name of unclaimed) {
    const externalId = await orphanId(folder, name, ids, report);
    const id = importedSessionId(SYSTEM, folder.agentId, externalId);
    ids.add(id);
    orphans.push({
      id,
      system: SYSTEM,
      agentId: folder.agentId,
      ownerAgentId: folder.agentId,
      externalId,
      fields: { status: { status: 'ENDED', reason: null, endedAt: null } },
      times: { createdAt: null, startedAt: null, updatedAt: null, activeAt: null },
      fallbackUsage: null,
      records: openTranscript(join(folder.path, name), join(folder.name, name)),
    });
  }
  return { entries, orphans };
}

async function readEntries(folder: SessionsFolder, rules: KeyRules, report: SourceReport): Promise<readonly StoreEntry[]> {
  if (folder.store === null) return [];
  const file = join(folder.name, basename(folder.store));
  try {
    const store = await readStore(folder.store, folder.agentId, rules);
    report.addRead('stores', 1);
    report.addRead('entries', store.entryCount);
    report.addReplacedCharacters(store.replacedCharacters);
    for (const problem of store.problems) report.addProblem({ file, line: null, ...problem });
    return store.entries;
  } catch (error) {
    report.addFailure(file, error);
    return [];
  }
}

/** By the entry's `sessionFile`, else by the session id. Of a path only the file name counts: the folder may come from another machine. */
function findTranscript(entry: StoreEntry, unclaimed: ReadonlySet<string>): string | null {
  const { sessionFile } = entry.fields;
  const named = typeof sessionFile === 'string' ? sessionFile.split(/[/\\]/).at(-1) : undefined;
  if (named !== undefined && unclaimed.has(named)) return named;
  if (unclaimed.has(`${entry.sessionId}.jsonl`)) return `${entry.sessionId}.jsonl`;
  const topics = [...unclaimed].filter(name => name.startsWith(`${entry.sessionId}-topic-`));
  return topics.length === 1 ? (topics[0] ?? null) : null;
}

/** The session id of a transcript without an entry: its file name if that is a UUID, else the id in its header, else its file name. */
async function orphanId(folder: SessionsFolder, name: string, ids: ReadonlySet<string>, report: SourceReport): Promise<string> {
  const stem = basename(name, '.jsonl');
  const headerId = parseUuid(stem) === null ? await readHeaderId(join(folder.path, name)) : await checkHeader(folder, name, stem, report);
  const wanted = parseUuid(stem) === null && headerId !== null ? headerId : stem;
  return ids.has(importedSessionId(SYSTEM, folder.agentId, wanted)) ? stem : wanted;
}

/** Reports a header that is missing or has another id. @returns the id in the header, null if there is none */
async function checkHeader(folder: SessionsFolder, name: string, sessionId: string, report: SourceReport): Promise<string | null> {
  const file = join(folder.name, name);
  const headerId = await readHeaderId(join(folder.path, name));
  if (headerId === null) report.addProblem({ file, line: 1, reason: 'no header' });
  else if (headerId !== sessionId) report.addProblem({ file, line: 1, reason: 'header names another session', detail: headerId });
  return headerId;
}

async function readHeaderId(path: string): Promise<string | null> {
  for await (const { bytes } of readLines(path)) {
    try {
      const header: unknown = JSON.parse((bytes?.toString('utf8') ?? '').replace(/^\ufeff/, ''));
      return isJsonObject(header) && header.type === 'session' && typeof header.id === 'string' && header.id !== '' ? header.id : null;
    } catch {
      return null;
    }
  }
  return null;
}

function toSession({ entry, folder, id, transcript }: PlannedEntry, ids: ReadonlyMap<string, string>, rules: KeyRules): SourceSession {
  const parent = readParent(entry, folder.agentId, rules);
  return {
    id,
    system: SYSTEM,
    agentId: entry.agentId ?? folder.agentId,
    ownerAgentId: folder.agentId,
    externalId: entry.sessionId,
    ...readEntrySession(entry),
    parent: parent === null ? null : { ...parent, id: ids.get(parent.key) ?? null },
    records: transcript === null ? null : openTranscript(join(folder.path, transcript), join(folder.name, transcript)),
  };
}

/** Moves each parent before its children and keeps the order otherwise. A cycle of parents is cut at any place. */
function parentsFirst(sessions: readonly SourceSession[]): SourceSession[] {
  const byId = new Map(sessions.map(session => [session.id, session]));
  const ordered = new Set<SourceSession>();
  for (const session of sessions) {
    const path: SourceSession[] = [];
    for (let next: SourceSession | undefined = session; next !== undefined && !ordered.has(next) && !path.includes(next); ) {
      path.push(next);
      next = next.parent?.id == null ? undefined : byId.get(next.parent.id);
    }
    for (const ancestor of path.reverse()) ordered.add(ancestor);
  }
  return [...ordered];
}
