import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { normalizeAgentId } from '../../modules/session-key/session-key.rules.ts';

/** A folder with the sessions of one agent. */
export interface SessionsFolder {
  /** Normalised. */
  readonly agentId: string;
  readonly path: string;
  /** For reports: the path below the imported folder. */
  readonly name: string;
  /** Path of `sessions.json`; null if there is none. */
  readonly store: string | null;
  /** File names of the transcripts to import, sorted. */
  readonly transcripts: readonly string[];
  /** True if only one transcript is imported. Store entries of other transcripts are then ignored. */
  readonly single: boolean;
  /** Files that are not sessions, and why. */
  readonly skipped: readonly SkippedFile[];
}

/** A file that is not imported. */
interface SkippedFile {
  readonly name: string;
  readonly reason: string;
}

/** The sessions folders at the imported path. */
export interface FoundState {
  readonly folders: readonly SessionsFolder[];
  readonly skipped: readonly SkippedFile[];
}

/** There are no OpenClaw sessions at the given path. The message says what to name instead. */
export class NothingToImportError extends Error {
  override readonly name = 'NothingToImportError';
}

const STORE = 'sessions.json';
const TRANSCRIPT = '.jsonl';

/** Names of files that OpenClaw writes beside transcripts, and why they are skipped. The first match counts. */
const ARTIFACTS: readonly (readonly [RegExp, string])[] = [
  [/\.checkpoint\.[^.]+\.jsonl$/, 'compaction checkpoint'],
  [/\.trajectory\.jsonl$|\.trajectory-path\.json$/, 'trajectory'],
  [/\.jsonl\.deleted\./, 'transcript deleted in OpenClaw'],
  [/\.jsonl\.reset\./, 'archive of a reset'],
  [/\.jsonl\.bak[.-]/, 'backup of a transcript'],
  [/\.repair-.*\.tmp$/, 'temporary file of a repair'],
  [/\.lock$/, 'lock file'],
  [/^sessions\.json\./, 'backup of the store'],
  [/^\.usage-cost-cache\.json$/, 'cache'],
  [/\.sqlite$/, 'SQLite store of a newer OpenClaw, not supported'],
];

/**
 * Finds the sessions in an OpenClaw state folder (`~/.openclaw`), an agents folder, an agent's folder, a sessions folder, or one transcript.
 * @param agentId in a folder of several agents: the only agent to import; else: the agent that the sessions belong to
 * @param defaultAgent used if neither the caller nor the path names an agent
 * @throws NothingToImportError if there are none
 */
export async function findState(path: string, agentId: string | null, defaultAgent: string): Promise<FoundState> {
  const agent = agentId === null ? null : normalizeAgentId(agentId);
  const kind = await stat(path).catch(() => null);
  if (kind === null) throw new NothingToImportError(`There is no file or folder ${path}.`);
  if (kind.isFile()) return findFile(path, agent, defaultAgent);
  const entries = await readdir(path, { withFileTypes: true });
  if (isSessionsFolder(entries))
    return { folders: [await openSessions(path, '', agent ?? agentOfPath(path) ?? defaultAgent)], skipped: [] };
  const state = entries.some(entry => entry.name === 'agents') ? join(path, 'agents') : path;
  const { folders, skipped } = await findAgents(state, path, agent);
  if (entries.some(entry => entry.name === 'sessions')) {
    // A sessions folder beside `agents` is older than agents folders, and belongs to the default agent.
    const owner = state === path ? (agent ?? agentOfPath(join(path, 'sessions')) ?? defaultAgent) : defaultAgent;
    if (state === path || agent === null || agent === owner) folders.push(await openSessions(join(path, 'sessions'), 'sessions', owner));
  }
  if (folders.length === 0) {
    throw new NothingToImportError(
      `There are no OpenClaw sessions${agent === null ? '' : ` of the agent ${agent}`} in ${path}. ` +
        'Name a state folder (with agents/<agent>/sessions), a folder with sessions.json or transcripts (*.jsonl), or one transcript.',
    );
  }
  return { folders, skipped };
}

/** The sessions folders of all agents in an agents folder. */
async function findAgents(path: string, root: string, only: string | null): Promise<{ folders: SessionsFolder[]; skipped: SkippedFile[] }> {
  const folders: SessionsFolder[] = [];
  const skipped: SkippedFile[] = [];
  for (const name of (await readdir(path)).sort()) {
    const agentId = normalizeAgentId(name);
    if (only !== null && agentId !== only) continue;
    const shown = join(path, name)
      .slice(root.length)
      .replace(/^[/\\]+/, '');
    if (await isFolder(join(path, name, 'sessions')))
      folders.push(await openSessions(join(path, name, 'sessions'), join(shown, 'sessions'), agentId));
    const sqlite = join('agent', 'openclaw-agent.sqlite');
    if (await isFile(join(path, name, sqlite)))
      skipped.push({ name: join(shown, sqlite), reason: artifactReason(sqlite) ?? 'not a session' });
  }
  return { folders, skipped };
}

async function findFile(path: string, agent: string | null, defaultAgent: string): Promise<FoundState> {
  const folder = dirname(path);
  const name = basename(path);
  const agentId = agent ?? agentOfPath(folder) ?? defaultAgent;
  if (name === STORE) return { folders: [await openSessions(folder, '', agentId)], skipped: [] };
  if (!name.endsWith(TRANSCRIPT)) throw new NothingToImportError(`${path} is neither a transcript (*.jsonl) nor a store (${STORE}).`);
  const store = join(folder, STORE);
  const single = {
    agentId,
    path: folder,
    name: '',
    store: (await isFile(store)) ? store : null,
    transcripts: [name],
    single: true,
    skipped: [],
  };
  return { folders: [single], skipped: [] };
}

async function openSessions(path: string, name: string, agentId: string): Promise<SessionsFolder> {
  const transcripts: string[] = [];
  const skipped: SkippedFile[] = [];
  let store: string | null = null;
  for (const entry of (await readdir(path, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (!(entry.isFile() || (entry.isSymbolicLink() && (await isFile(join(path, entry.name)))))) continue;
    const reason = artifactReason(entry.name);
    if (reason !== null) skipped.push({ name: join(name, entry.name), reason });
    else if (entry.name === STORE) store = join(path, entry.name);
    else if (entry.name.endsWith(TRANSCRIPT)) transcripts.push(entry.name);
    else skipped.push({ name: join(name, entry.name), reason: 'not a session' });
  }
  return { agentId, path, name, store, transcripts, single: false, skipped };
}

function artifactReason(name: string): string | null {
  return ARTIFACTS.find(([pattern]) => pattern.test(name))?.[1] ?? null;
}

function isSessionsFolder(entries: readonly Dirent[]): boolean {
  return entries.some(entry => !entry.isDirectory() && (entry.name === STORE || entry.name.endsWith(TRANSCRIPT)));
}

/** The agent of a path `…/agents/<id>/sessions`; null for another path. */
function agentOfPath(folder: string): string | null {
  const match = /(?:^|[/\\])agents[/\\]([^/\\]+)[/\\]sessions[/\\]?$/.exec(folder);
  return match?.[1] === undefined ? null : normalizeAgentId(match[1]);
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isFile() ?? false;
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() ?? false;
}
