import { randomUUID } from 'node:crypto';
import { link, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errorCodeOf, StartError } from '../errors.ts';
import { explainAccess, giveToFolderOwner } from './data-folder.ts';
import { currentIdentity, type ProcessIdentity, stateOf } from './process-identity.ts';

/** `running`: commands may use the owner's database. `draining`: it is shutting down. `released`: the folder has no owner any more. */
export type OwnerState = 'starting' | 'running' | 'draining' | 'released';

/** The process that uses a data folder, as it describes itself in the folder. */
export interface FolderOwner extends ProcessIdentity {
  /** `server`, or the name of a command. */
  readonly role: string;
  /** When it claimed the folder, in ISO 8601. */
  readonly since: string;
  readonly state: OwnerState;
}

/** This process' claim to a data folder. No other process can claim it before `release`. */
export interface FolderClaim {
  /** Shows this state to other processes. */
  setState(state: Exclude<OwnerState, 'released'>): Promise<void>;
  release(): Promise<void>;
}

export interface ClaimOptions {
  readonly role: string;
  /** How long to wait for an owner that is draining; 15 seconds by default. */
  readonly drainWaitMs?: number;
  /** Ends the wait. */
  readonly signal?: AbortSignal;
}

const DRAIN_WAIT_MS = 15_000;
const POLL_MS = 100;
const HEARTBEAT_MS = 2_000;
/** An owner in another container without a heartbeat for this long is dead. */
const HEARTBEAT_EXPIRES_MS = 12_000;

/** Another live process uses the folder. */
export class FolderTakenError extends StartError {
  readonly owner: FolderOwner;

  constructor(folder: string, owner: FolderOwner) {
    super(
      `The data folder ${folder} is in use by another Sessiongraph ${owner.role} (process ${owner.pid}, ${owner.state} since ${owner.since}).\n` +
        'Stop that one first, or name another folder in SESSIONGRAPH_DATA.',
    );
    this.owner = owner;
  }
}

/**
 * Claims the data folder for this process. Takes over from a dead owner, and waits for an owner that is draining.
 *
 * The owner is the process that wrote the file with the highest number in `owner/`. A claim creates the file with the next number by
 * `link`, which fails if another process was faster, and removes it again if a higher number exists by then. So there are never two owners.
 * @throws FolderTakenError if the owner is alive, an AbortError if `signal` ended the wait
 */
export async function claimFolder(folder: string, options: ClaimOptions): Promise<FolderClaim> {
  const records = join(folder, 'owner');
  await createRecordsFolder(folder, records);
  const drainsUntil = performance.now() + (options.drainWaitMs ?? DRAIN_WAIT_MS);
  const heartbeats = new Map<number, number>();
  for (;;) {
    const last = await readLast(records);
    if (last === null || !last.isAlive) {
      const owner: FolderOwner = { ...currentIdentity(), role: options.role, since: new Date().toISOString(), state: 'starting' };
      const number = (last?.number ?? 0) + 1;
      if (await createRecord(folder, records, number, owner)) return createClaim(folder, records, number, owner);
      continue;
    }
    const firstHeartbeat = heartbeats.get(last.number) ?? last.heartbeat;
    heartbeats.set(last.number, firstHeartbeat);
    // Only its next heartbeat proves that an owner in another container is alive.
    const undecided = stateOf(last.owner) === 'elsewhere' && firstHeartbeat === last.heartbeat;
    const draining = last.owner.state === 'draining' && performance.now() < drainsUntil;
    if (!undecided && !draining) throw new FolderTakenError(folder, last.owner);
    await delay(POLL_MS, undefined, { signal: options.signal });
  }
}

/** The last owner of a data folder, and whether it still owns it; null if the folder never had an owner. */
export async function readFolderOwner(folder: string): Promise<{ readonly owner: FolderOwner; readonly isAlive: boolean } | null> {
  return readLast(join(folder, 'owner'));
}

interface LastRecord {
  readonly number: number;
  readonly owner: FolderOwner;
  /** Milliseconds since the epoch. */
  readonly heartbeat: number;
  readonly isAlive: boolean;
}

async function readLast(records: string): Promise<LastRecord | null> {
  for (;;) {
    const number = Math.max(0, ...(await recordNumbers(records)));
    if (number === 0) return null;
    try {
      const path = recordPath(records, number);
      const [text, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
      const owner = JSON.parse(text) as FolderOwner;
      return { number, owner, heartbeat: mtimeMs, isAlive: isAlive(owner, mtimeMs) };
    } catch (error) {
      // Another process has replaced the file by one with a higher number. Read that one.
      if (errorCodeOf(error) !== 'ENOENT') throw error;
    }
  }
}

function isAlive(owner: FolderOwner, heartbeat: number): boolean {
  if (owner.state === 'released') return false;
  const state = stateOf(owner);
  return state === 'alive' || (state === 'elsewhere' && Date.now() - heartbeat < HEARTBEAT_EXPIRES_MS);
}

async function recordNumbers(records: string): Promise<number[]> {
  try {
    return (await readdir(records)).map(name => Number(/^(\d+)\.json$/.exec(name)?.[1] ?? 0));
  } catch (error) {
    if (errorCodeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

function recordPath(records: string, number: number): string {
  return join(records, `${number}.json`);
}

async function createRecordsFolder(folder: string, records: string): Promise<void> {
  try {
    await mkdir(records, { recursive: true, mode: 0o700 });
    await giveToFolderOwner(folder, records);
  } catch (error) {
    throw explainAccess(folder, error);
  }
}

/** @returns whether the record was created and has the highest number */
async function createRecord(folder: string, records: string, number: number, owner: FolderOwner): Promise<boolean> {
  const path = recordPath(records, number);
  const draft = await writeDraft(folder, records, owner);
  try {
    await link(draft, path);
  } catch (error) {
    if (errorCodeOf(error) === 'EEXIST') return false;
    throw explainAccess(folder, error);
  } finally {
    await rm(draft, { force: true });
  }
  const others = (await recordNumbers(records)).filter(other => other > 0 && other !== number);
  if (others.some(other => other > number)) {
    await rm(path, { force: true });
    return false;
  }
  await Promise.all(others.map(other => rm(recordPath(records, other), { force: true })));
  return true;
}

async function writeDraft(folder: string, records: string, owner: FolderOwner): Promise<string> {
  const draft = join(records, `${randomUUID()}.new`);
  try {
    await writeFile(draft, `${JSON.stringify(owner, null, 2)}\n`, { mode: 0o600 });
    await giveToFolderOwner(folder, draft);
  } catch (error) {
    throw explainAccess(folder, error);
  }
  return draft;
}

function createClaim(folder: string, records: string, number: number, owner: FolderOwner): FolderClaim {
  const path = recordPath(records, number);
  const heartbeatTimer = setInterval(() => {
    const now = new Date();
    // If the folder was deleted, Postgres fails too and reports it.
    utimes(path, now, now).catch(() => undefined);
  }, HEARTBEAT_MS);
  heartbeatTimer.unref();
  const write = async (state: OwnerState) => rename(await writeDraft(folder, records, { ...owner, state }), path);
  return {
    setState: write,
    async release() {
      clearInterval(heartbeatTimer);
      await write('released');
    },
  };
}
