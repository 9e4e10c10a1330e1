import { basename, join } from 'node:path';
import { parseUuid } from '../../global-id.ts';
import type { KeyRules } from '../../modules/session-key/session-key.rules.ts';
import { isJsonObject } from '../../modules/text/text.input.ts';
import { importedSessionId } from '../import-id.ts';
import { readLines } from '../lines/line-reader.ts';
import type { ImportReportBuilder } from '../report.ts';
import type { SourceSession } from '../source.ts';
import { readEntrySession, readParent } from './session-entry.ts';
import type { FoundState, SessionsFolder } from './state-folder.ts';
import { readStore, type StoreEntry } from './store-reader.ts';
import { openTranscript } from './transcript-reader.ts';

/** The name of the system in ids and in what imports remember. */
const SYSTEM = 'openclaw';

/** All sessions of a state, in the order in which they are to be written. */
export interface ImportPlan {
  /** First those that no entry speaks of, then the others, parents before children. */
  readonly sessions: readonly SourceSession[];
  /** Canonical keys by the UUID of the session that has them. */
  readonly keys: ReadonlyMap<string, string>;
}

interface PlannedEntry {
  readonly entry: StoreEntry;
  readonly folder: SessionsFolder;
  readonly id: string;
  readonly transcript: string | null;
}

/**
 * Reads the stores and joins their entries with the transcripts; transcripts are opened only for their first line.
 * A store that cannot be read is a failure in the report, and its transcripts are then taken for such that no entry speaks of.
 */
export async function planImport(state: FoundState, rules: KeyRules, report: ImportReportBuilder): Promise<ImportPlan> {
  for (const { reason } of state.skipped) report.addSkipped(reason);
  const entries: PlannedEntry[] = [];
  const orphans: SourceSession[] = [];
  for (const folder of state.folders) {
    report.addRead('agents');
    report.addRead('transcripts', folder.transcripts.length);
    for (const { reason } of folder.skipped) report.addSkipped(reason);
    const found = await planFolder(folder, rules, report);
    entries.push(...found.entries);
    orphans.push(...found.orphans);
  }
  const keys = new Map(entries.map(({ id, entry }) => [id, entry.key]));
  const ids = new Map(entries.map(({ id, entry }) => [entry.key, id]));
  const sessions = entries.map(planned => toSession(planned, ids, rules));
  return { sessions: [...orphans, ...parentsFirst(sessions)], keys };
}

async function planFolder(
  folder: SessionsFolder,
  rules: KeyRules,
  report: ImportReportBuilder,
): Promise<{ readonly entries: readonly PlannedEntry[]; readonly orphans: readonly SourceSession[] }> {
  const free = new Set(folder.transcripts);
  const claimed = new Set<string>();
  const entries: PlannedEntry[] = [];
  for (const entry of await readEntries(folder, rules, report)) {
    const transcript = findTranscript(entry, free);
    if (transcript === null && folder.single) continue;
    if (transcript !== null) free.delete(transcript);
    const id = importedSessionId(SYSTEM, folder.agentId, entry.sessionId);
    claimed.add(id);
    entries.push({ entry, folder, id, transcript });
    if (transcript === null)
      report.addProblem({ file: join(folder.name, 'sessions.json'), line: null, reason: 'entry without transcript', detail: entry.key });
    else await checkHeader(folder, transcript, entry.sessionId, report);
  }
  const orphans: SourceSession[] = [];
  for (const name of free) {
    const externalId = await orphanId(folder, name, claimed, report);
    const id = importedSessionId(SYSTEM, folder.agentId, externalId);
    claimed.add(id);
    orphans.push({
      id,
      system: SYSTEM,
      agentId: folder.agentId,
      ownerAgentId: folder.agentId,
      externalId,
      fields: { status: { status: 'ENDED', reason: null, endedAt: null } },
      times: { createdAt: null, startedAt: null, updatedAt: null, activeAt: null },
      fallbackUsage: null,
      transcript: openTranscript(join(folder.path, name), join(folder.name, name)),
    });
  }
  return { entries, orphans };
}

async function readEntries(folder: SessionsFolder, rules: KeyRules, report: ImportReportBuilder): Promise<readonly StoreEntry[]> {
  if (folder.store === null) return [];
  const file = join(folder.name, basename(folder.store));
  try {
    const store = await readStore(folder.store, folder.agentId, rules);
    report.addRead('stores');
    report.addRead('entries', store.entryCount);
    report.addReplacedCharacters(store.replacedCharacters);
    for (const problem of store.problems) report.addProblem({ file, line: null, ...problem });
    return store.entries;
  } catch (error) {
    report.addFailure(file, error);
    return [];
  }
}

/** By the entry's own word, else by the session's id; paths of the machine it comes from count only by their last part. */
function findTranscript(entry: StoreEntry, free: ReadonlySet<string>): string | null {
  const { sessionFile } = entry.fields;
  const named = typeof sessionFile === 'string' ? sessionFile.split(/[/\\]/).at(-1) : undefined;
  if (named !== undefined && free.has(named)) return named;
  if (free.has(`${entry.sessionId}.jsonl`)) return `${entry.sessionId}.jsonl`;
  const topics = [...free].filter(name => name.startsWith(`${entry.sessionId}-topic-`));
  return topics.length === 1 ? (topics[0] ?? null) : null;
}

/** The file's name where that is a UUID, as OpenClaw names them; else its header's id; else the name. */
async function orphanId(folder: SessionsFolder, name: string, claimed: ReadonlySet<string>, report: ImportReportBuilder): Promise<string> {
  const stem = basename(name, '.jsonl');
  const headerId = parseUuid(stem) === null ? await readHeaderId(join(folder.path, name)) : await checkHeader(folder, name, stem, report);
  const wanted = parseUuid(stem) === null && headerId !== null ? headerId : stem;
  return claimed.has(importedSessionId(SYSTEM, folder.agentId, wanted)) ? stem : wanted;
}

async function checkHeader(folder: SessionsFolder, name: string, sessionId: string, report: ImportReportBuilder): Promise<string | null> {
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
    transcript: transcript === null ? null : openTranscript(join(folder.path, transcript), join(folder.name, transcript)),
  };
}

/** In the order given otherwise; where parents form a circle, it is cut somewhere. */
function parentsFirst(sessions: readonly SourceSession[]): SourceSession[] {
  const byId = new Map(sessions.map(session => [session.id, session]));
  const ordered = new Set<SourceSession>();
  for (const session of sessions) {
    const line: SourceSession[] = [];
    for (let next: SourceSession | undefined = session; next !== undefined && !ordered.has(next) && !line.includes(next); ) {
      line.push(next);
      next = next.parent?.id == null ? undefined : byId.get(next.parent.id);
    }
    for (const ancestor of line.reverse()) ordered.add(ancestor);
  }
  return [...ordered];
}
