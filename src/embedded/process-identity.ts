import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { errorCodeOf } from '../errors.ts';

/** A process, told apart from a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, in the system's own words; null where the system does not say. */
  readonly started: string | null;
  /** Where the number means something: the boot and the container of the process. */
  readonly scope: string;
}

/** `elsewhere` is a process of another machine or container: whether it lives cannot be seen from here. */
export type ProcessState = 'alive' | 'dead' | 'elsewhere';

/** The identity of this process. */
export function ownIdentity(): ProcessIdentity {
  return { pid: process.pid, started: startOf(process.pid), scope: ownScope() };
}

/** Whether that very process is still there. */
export function stateOf(identity: ProcessIdentity): ProcessState {
  if (identity.scope !== ownScope()) return 'elsewhere';
  if (!isRunning(identity.pid)) return 'dead';
  const started = startOf(identity.pid);
  return identity.started === null || started === null || started === identity.started ? 'alive' : 'dead';
}

/** Whether a process has this number, be it ours or another user's, or one that only waits to be reaped. */
export function isTaken(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCodeOf(error) === 'EPERM';
  }
}

/** Whether a process with this number runs; one that only waits to be reaped does not. */
export function isRunning(pid: number): boolean {
  return isTaken(pid) && linuxStat(pid)?.state !== 'Z';
}

/** The running processes whose working folder this is, as far as the system shows them. */
export function processesIn(folder: string): number[] {
  if (process.platform !== 'linux') return [];
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger);
  return pids.filter(pid => {
    try {
      return readlinkSync(`/proc/${pid}/cwd`) === folder;
    } catch {
      return false;
    }
  });
}

/** The words a running process was started with, empty where they cannot be seen. */
export function commandLineOf(pid: number): string[] {
  if (process.platform === 'linux') return readOrEmpty(`/proc/${pid}/cmdline`).split('\0').filter(Boolean);
  if (process.platform === 'win32') return [];
  return ps(pid, 'command').split(' ').filter(Boolean);
}

function startOf(pid: number): string | null {
  if (process.platform === 'linux') return linuxStat(pid)?.started ?? null;
  if (process.platform === 'win32') return null;
  return ps(pid, 'lstart') || null;
}

function ownScope(): string {
  if (process.platform !== 'linux') return hostname();
  try {
    return `${readOrEmpty('/proc/sys/kernel/random/boot_id').trim()} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return hostname();
  }
}

function linuxStat(pid: number): { state: string; started: string } | null {
  const text = process.platform === 'linux' ? readOrEmpty(`/proc/${pid}/stat`) : '';
  if (text === '') return null;
  // The name before these fields is in parentheses and may hold spaces and parentheses itself.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', started: fields[19] ?? '' };
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function ps(pid: number, field: string): string {
  try {
    return execFileSync('ps', ['-ww', '-o', `${field}=`, '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return '';
  }
}
