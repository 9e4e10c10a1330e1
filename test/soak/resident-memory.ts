import { readFile } from 'node:fs/promises';

/** Reads the resident memory of a process, in MiB, from /proc. */
export async function residentMiB(pid: number): Promise<number> {
  const [, kibibytes] = /VmRSS:\s+(\d+) kB/.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kibibytes) / 1024;
}
