import { describe, expect, it } from 'vitest';
import { isPostmasterOf } from '../../../src/embedded/orphaned-postgres.ts';
import { serverSettings } from '../../../src/embedded/postgres-settings.ts';

const GIB = 1024 ** 3;
const machine = { maxConnections: 100, durable: true, memory: 8 * GIB, sharedMemory: 4 * GIB };

describe('isPostmasterOf', () => {
  const cluster = '/home/ada/my data/postgres-18';

  it('is true for the server process of the cluster', () => {
    expect(isPostmasterOf(['/opt/my app/bin/postgres', '-D', cluster, '-p', '5432'], cluster)).toBe(true);
    expect(isPostmasterOf(['/opt/my app/bin/postgres -D /home/ada/my data/postgres-18 -p 5432'], cluster)).toBe(true);
  });

  it('is false for the server of another cluster and for other programs', () => {
    expect(isPostmasterOf(['postgres', '-D', `${cluster}-old`, '-p', '5432'], cluster)).toBe(false);
    expect(isPostmasterOf(['vim', cluster], cluster)).toBe(false);
    expect(isPostmasterOf([], cluster)).toBe(false);
  });
});

describe('serverSettings', () => {
  it('sets shared_buffers to a share of the memory between 64 MB and 512 MB', () => {
    expect(serverSettings(machine)).toContain('shared_buffers=512MB');
    expect(serverSettings({ ...machine, memory: GIB / 2 })).toContain('shared_buffers=64MB');
    expect(serverSettings({ ...machine, memory: 64 * GIB })).toContain('shared_buffers=512MB');
  });

  it('turns fsync off only if durable is false', () => {
    expect(serverSettings(machine)).not.toContain('fsync=off');
    expect(serverSettings({ ...machine, durable: false })).toContain('fsync=off');
  });

  it('uses mmap for dynamic shared memory if shared memory is small, as in a container', () => {
    expect(serverSettings(machine)).not.toContain('dynamic_shared_memory_type=mmap');
    expect(serverSettings({ ...machine, sharedMemory: GIB / 16 })).toContain('dynamic_shared_memory_type=mmap');
  });
});
