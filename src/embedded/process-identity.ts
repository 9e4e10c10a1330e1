import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { errorCodeOf } from '../errors.ts';

/** Identifies a process, also after its number was given to another one. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, as the system writes it; null if the system does not show it. */
  readonly started: string | null;
  /** The boot of the machine and the container in which the number is valid. */
  readonly scope: string;
}

/** `elsewhere`: the process belongs to another machine or container, so its state is not visible from here. */
export type ProcessState = 'alive' | 'dead' | 'elsewhere';

/** The identity of this process. */
export function currentIdentity(): ProcessIdentity {
  return { pid: process.pid, started: startOf(process.pid), scope: currentScope() };
}

/** Whether this process, and not another one with its number, still exists. */
export function stateOf(identity: ProcessIdentity): ProcessState {
  if (identity.scope !== currentScope()) return 'elsewhere';
  if (!isRunning(identity.pid)) return 'dead';
  const started = startOf(identity.pid);
  return identity.started === null || started === null || started === identity.started ? 'alive' : 'dead';
}

/** Whether any process has this number: of any user, dead processes that their parent has not reaped included. */
export function isTaken(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCodeOf(error) === 'EPERM';
  }
}

/** Whether a process with this number is running. A dead process that its parent has not reaped is not. */
export function isRunning(pid: number): boolean {
  return isTaken(pid) && linuxStat(pid)?.state !== 'Z';
}

/** The running processes with this working folder. Only Linux shows them; empty on other systems. */
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

/** The command line of a running process; empty if the system does not show it. */
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

function currentScope(): string {
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
  // The second field, the program's name, is in parentheses and may contain spaces and parentheses itself.
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
