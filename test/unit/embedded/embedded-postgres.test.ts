import { describe, expect, it } from 'vitest';
import { isPostmasterOf } from '../../../src/embedded/orphaned-postgres.ts';
import { serverSettings } from '../../../src/embedded/postgres-settings.ts';

const GIB = 1024 ** 3;
const machine = { maxConnections: 100, durable: true, memory: 8 * GIB, sharedMemory: 4 * GIB };

describe('isPostmasterOf', () => {
  const cluster = '/home/ada/my data/postgres-18';

  it('knows the server of a cluster by its words', () => {
    expect(isPostmasterOf(['/opt/my app/bin/postgres', '-D', cluster, '-p', '5432'], cluster)).toBe(true);
    expect(isPostmasterOf(['/opt/my app/bin/postgres -D /home/ada/my data/postgres-18 -p 5432'], cluster)).toBe(true);
  });

  it('knows it from the server of another cluster and from other programs', () => {
    expect(isPostmasterOf(['postgres', '-D', `${cluster}-old`, '-p', '5432'], cluster)).toBe(false);
    expect(isPostmasterOf(['vim', cluster], cluster)).toBe(false);
    expect(isPostmasterOf([], cluster)).toBe(false);
  });
});

describe('serverSettings', () => {
  it('takes a share of the memory, within limits', () => {
    expect(serverSettings(machine)).toContain('shared_buffers=512MB');
    expect(serverSettings({ ...machine, memory: GIB / 2 })).toContain('shared_buffers=64MB');
    expect(serverSettings({ ...machine, memory: 64 * GIB })).toContain('shared_buffers=512MB');
  });

  it('keeps what is committed unless told otherwise', () => {
    expect(serverSettings(machine)).not.toContain('fsync=off');
    expect(serverSettings({ ...machine, durable: false })).toContain('fsync=off');
  });

  it('keeps to files of its own where shared memory is short, as in a container', () => {
    expect(serverSettings(machine)).not.toContain('dynamic_shared_memory_type=mmap');
    expect(serverSettings({ ...machine, sharedMemory: GIB / 16 })).toContain('dynamic_shared_memory_type=mmap');
  });
});
