import { statfs } from 'node:fs/promises';

const MIB = 1024 * 1024;
/** With less shared memory, parallel queries may run out of it; containers have 64 MiB. */
const ENOUGH_SHARED_MEMORY = 512 * MIB;

/** What the settings of Postgres depend on. */
export interface PostgresSizing {
  readonly maxConnections: number;
  /** False if data may be lost in a power cut, for tests. */
  readonly durable: boolean;
  /** Bytes. */
  readonly memory: number;
  /** Bytes. */
  readonly sharedMemory: number;
}

/** Postgres settings as `name=value`, for a machine that also runs other programs. */
export function serverSettings({ maxConnections, durable, memory, sharedMemory }: PostgresSizing): string[] {
  const megabytes = (share: number, lowest: number, highest: number) =>
    `${Math.round(Math.min(Math.max((memory * share) / MIB, lowest), highest))}MB`;
  return [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    `max_connections=${maxConnections}`,
    `shared_buffers=${megabytes(1 / 16, 64, 512)}`,
    `effective_cache_size=${megabytes(1 / 2, 256, 65_536)}`,
    `maintenance_work_mem=${megabytes(1 / 32, 64, 256)}`,
    'work_mem=16MB',
    'random_page_cost=1.1',
    'jit=off',
    'TimeZone=UTC',
    'log_timezone=UTC',
    'log_checkpoints=off',
    ...(sharedMemory < ENOUGH_SHARED_MEMORY ? ['dynamic_shared_memory_type=mmap'] : []),
    ...(durable ? [] : ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'wal_level=minimal', 'max_wal_senders=0']),
  ];
}

/** Bytes of shared memory that this system has left; infinite on systems that do not limit it. */
export async function readFreeSharedMemory(): Promise<number> {
  if (process.platform !== 'linux') return Number.POSITIVE_INFINITY;
  return statfs('/dev/shm').then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  );
}
