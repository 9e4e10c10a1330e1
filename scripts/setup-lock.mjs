// A lock between processes, so that only one set-up runs at a time in a clone.
import { randomUUID } from 'node:crypto';
import { linkSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 200;

/**
 * Takes the lock, and waits while another live process holds it.
 *
 * Lock files have numbers as names and hold a process id. The highest number is the current lock. To take the lock, a process
 * creates the next number with `link`, which fails if another process was faster, and removes it again if a higher number exists.
 * @param folder of the lock files; it must exist
 * @param onWait receives the id of the process that holds the lock, once
 * @returns the function that releases the lock
 */
export async function takeLock(folder, onWait) {
  let waited = false;
  for (;;) {
    const last = Math.max(0, ...lockNumbers(folder));
    const holder = last === 0 ? 0 : readHolder(join(folder, String(last)));
    if (isAlive(holder)) {
      if (!waited) onWait(holder);
      waited = true;
      await delay(POLL_MS);
    } else if (tryToCreate(folder, last + 1)) {
      return () => writeFileSync(join(folder, String(last + 1)), '0');
    }
  }
}

/** Whether the lock with this number is now held by this process. */
function tryToCreate(folder, number) {
  const path = join(folder, String(number));
  const draft = join(folder, `${randomUUID()}.new`);
  writeFileSync(draft, String(process.pid));
  try {
    linkSync(draft, path);
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  const others = lockNumbers(folder).filter(other => other !== number);
  if (others.some(other => other > number)) {
    rmSync(path, { force: true });
    return false;
  }
  for (const other of others) rmSync(join(folder, String(other)), { force: true });
  return true;
}

function lockNumbers(folder) {
  return readdirSync(folder).flatMap(name => (/^\d+$/.test(name) ? [Number(name)] : []));
}

/** The process id in a lock file; 0 if the lock was released. */
function readHolder(path) {
  try {
    return Number(readFileSync(path, 'utf8'));
  } catch {
    return 0;
  }
}

function isAlive(pid) {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
