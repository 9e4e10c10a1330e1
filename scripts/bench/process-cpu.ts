import { readdirSync, readFileSync } from 'node:fs';

/** The unit of CPU times in /proc, in milliseconds. */
const TICK_MS = 10;

/** CPU time of a process, its threads included, in milliseconds; null if the process has ended or the system has no /proc. */
export function processCpuMs(pid: number | string): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name may contain spaces, so the fields are counted from the parenthesis behind it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  } catch {
    return null;
  }
}

/** CPU time of the Postgres processes that serve a database, in milliseconds; null where /proc does not show them. */
export function postgresCpuMs(database: string): number | null {
  let total: number | null = null;
  for (const pid of listProcesses()) {
    try {
      // The title of a backend: "postgres: user database 127.0.0.1(5000) SELECT".
      if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(` ${database} `)) continue;
    } catch {
      continue;
    }
    const cpu = processCpuMs(pid);
    if (cpu !== null) total = (total ?? 0) + cpu;
  }
  return total;
}

function listProcesses(): readonly string[] {
  try {
    return readdirSync('/proc').filter(name => /^\d+$/.test(name));
  } catch {
    return [];
  }
}
