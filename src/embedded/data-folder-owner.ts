import { randomUUID } from 'node:crypto';
import { link, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errorCodeOf, StartError } from '../errors.ts';
import { explainAccess, giveToFolderOwner } from './data-folder.ts';
import { ownIdentity, type ProcessIdentity, stateOf } from './process-identity.ts';

/** Where the owner of a data folder stands: on the way up, open to others, on the way down, gone. */
export type OwnerState = 'starting' | 'running' | 'draining' | 'released';

/** The process that has a data folder, as it says of itself. */
export interface FolderOwner extends ProcessIdentity {
  /** What it is: `server`, or the name of a command. */
  readonly role: string;
  /** ISO instant of its start. */
  readonly since: string;
  readonly state: OwnerState;
}

/** A data folder that is ours until it is released. */
export interface FolderClaim {
  /** Tells others where we stand. */
  announce(state: Exclude<OwnerState, 'released'>): Promise<void>;
  release(): Promise<void>;
}

export interface ClaimOptions {
  readonly role: string;
  /** How long a start waits for an owner that is draining. */
  readonly drainWaitMs?: number;
  /** Ends the waiting. */
  readonly signal?: AbortSignal;
}

const DRAIN_WAIT_MS = 15_000;
const POLL_MS = 100;
const HEARTBEAT_MS = 2_000;
/** A sign of life older than this, of an owner in another container, counts as none. */
const HEARTBEAT_EXPIRES_MS = 12_000;

/** The folder is another live process's. */
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
 * Makes the data folder ours. What a dead process left is taken over; an owner that is draining is waited for.
 *
 * The owner is whoever wrote the highest numbered file of `owner/`. A claim makes the next number with `link`, which
 * fails where another was faster, and gives it up again when a higher one turns out to exist: so no order of events
 * leaves two owners.
 * @throws FolderTakenError where the owner lives, an AbortError where the waiting was ended
 */
export async function claimFolder(folder: string, options: ClaimOptions): Promise<FolderClaim> {
  const records = join(folder, 'owner');
  await makeRecordsFolder(folder, records);
  const drainsUntil = performance.now() + (options.drainWaitMs ?? DRAIN_WAIT_MS);
  const heartbeats = new Map<number, number>();
  for (;;) {
    const last = await readLast(records);
    if (last === null || !last.lives) {
      const own: FolderOwner = { ...ownIdentity(), role: options.role, since: new Date().toISOString(), state: 'starting' };
      const number = (last?.number ?? 0) + 1;
      if (await makeRecord(folder, records, number, own)) return createClaim(folder, records, number, own);
      continue;
    }
    const seen = heartbeats.get(last.number) ?? last.heartbeat;
    heartbeats.set(last.number, seen);
    // Whether an owner in another container lives shows in its next heartbeat only.
    const undecided = stateOf(last.owner) === 'elsewhere' && seen === last.heartbeat;
    const draining = last.owner.state === 'draining' && performance.now() < drainsUntil;
    if (!undecided && !draining) throw new FolderTakenError(folder, last.owner);
    await delay(POLL_MS, undefined, { signal: options.signal });
  }
}

/** Who had a data folder last, and whether it still has; null where nobody ever had it. */
export async function readFolderOwner(folder: string): Promise<{ readonly owner: FolderOwner; readonly lives: boolean } | null> {
  return readLast(join(folder, 'owner'));
}

interface LastRecord {
  readonly number: number;
  readonly owner: FolderOwner;
  /** Milliseconds since the epoch. */
  readonly heartbeat: number;
  readonly lives: boolean;
}

async function readLast(records: string): Promise<LastRecord | null> {
  for (;;) {
    const number = Math.max(0, ...(await recordNumbers(records)));
    if (number === 0) return null;
    try {
      const path = recordPath(records, number);
      const [text, { mtimeMs }] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
      const owner = JSON.parse(text) as FolderOwner;
      return { number, owner, heartbeat: mtimeMs, lives: lives(owner, mtimeMs) };
    } catch (error) {
      // Replaced by a higher one between the listing and the reading.
      if (errorCodeOf(error) !== 'ENOENT') throw error;
    }
  }
}

function lives(owner: FolderOwner, heartbeat: number): boolean {
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

async function makeRecordsFolder(folder: string, records: string): Promise<void> {
  try {
    await mkdir(records, { recursive: true, mode: 0o700 });
    await giveToFolderOwner(folder, records);
  } catch (error) {
    throw explainAccess(folder, error);
  }
}

/** Whether the record was made and is still the highest. */
async function makeRecord(folder: string, records: string, number: number, own: FolderOwner): Promise<boolean> {
  const path = recordPath(records, number);
  const draft = await writeDraft(folder, records, own);
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

function createClaim(folder: string, records: string, number: number, own: FolderOwner): FolderClaim {
  const path = recordPath(records, number);
  const beat = setInterval(() => {
    const now = new Date();
    // A folder that vanished is found out by Postgres, which lies in it.
    utimes(path, now, now).catch(() => undefined);
  }, HEARTBEAT_MS);
  beat.unref();
  const write = async (state: OwnerState) => rename(await writeDraft(folder, records, { ...own, state }), path);
  return {
    announce: write,
    async release() {
      clearInterval(beat);
      await write('released');
    },
  };
}
