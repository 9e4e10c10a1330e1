import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { claimFolder, type FolderOwner, FolderTakenError, readFolderOwner } from '../../../src/embedded/data-folder-owner.ts';
import { currentIdentity } from '../../../src/embedded/process-identity.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sessiongraph-test-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

/** What a process that did not release the folder leaves behind. */
async function leave(owner: Partial<FolderOwner>, heartbeat = new Date()): Promise<void> {
  const record: FolderOwner = { ...currentIdentity(), role: 'server', since: '2026-01-01T00:00:00.000Z', state: 'running', ...owner };
  const path = join(folder, 'owner', '7.json');
  await mkdir(join(folder, 'owner'));
  await writeFile(path, JSON.stringify(record));
  await utimes(path, heartbeat, heartbeat);
}

function deadPid(): number {
  return spawnSync(process.execPath, ['-e', '']).pid;
}

describe('claimFolder', () => {
  it('has one owner, whom others are told about', async () => {
    const claim = await claimFolder(folder, { role: 'server' });
    await claim.setState('running');
    await expect(claimFolder(folder, { role: 'seed' })).rejects.toThrow(
      new RegExp(`in use by another Sessiongraph server \\(process ${process.pid}, running since \\d{4}-`),
    );
    await claim.release();
    expect(await readFolderOwner(folder)).toMatchObject({ isAlive: false, owner: { state: 'released' } });
    await (await claimFolder(folder, { role: 'seed' })).release();
  });

  it('gives the folder to one of many that ask at once', async () => {
    await leave({ pid: deadPid() });
    const claims = await Promise.allSettled(Array.from({ length: 20 }, () => claimFolder(folder, { role: 'server' })));
    expect(claims.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const claim of claims) if (claim.status === 'rejected') expect(claim.reason).toBeInstanceOf(FolderTakenError);
    expect(await readdir(join(folder, 'owner'))).toHaveLength(1);
  });

  it('takes over from a dead process', async () => {
    await leave({ pid: deadPid() });
    await (await claimFolder(folder, { role: 'server' })).release();
  });

  it('takes over from a process whose number has been given to another since', async () => {
    await leave({ started: 'long ago' });
    await (await claimFolder(folder, { role: 'server' })).release();
  });

  it('takes over from an owner in another container that gives no sign of life', async () => {
    await leave({ scope: 'elsewhere' }, new Date(Date.now() - 60_000));
    await (await claimFolder(folder, { role: 'server' })).release();
  });

  it('leaves an owner in another container alone as long as it gives signs of life', async () => {
    await leave({ scope: 'elsewhere' });
    const path = join(folder, 'owner', '7.json');
    const beat = setInterval(() => void utimes(path, new Date(), new Date()), 50);
    await expect(claimFolder(folder, { role: 'server' })).rejects.toThrow(FolderTakenError);
    clearInterval(beat);
  });

  it('waits for an owner that is draining', async () => {
    const claim = await claimFolder(folder, { role: 'server' });
    await claim.setState('draining');
    const next = claimFolder(folder, { role: 'server' });
    await claim.release();
    await (await next).release();
  });

  it('ends the waiting when told to', async () => {
    const claim = await claimFolder(folder, { role: 'server' });
    await claim.setState('draining');
    const ending = new AbortController();
    const next = claimFolder(folder, { role: 'server', signal: ending.signal });
    ending.abort();
    await expect(next).rejects.toThrow(/aborted/);
    await claim.release();
  });

  it('does not wait for ever', async () => {
    const claim = await claimFolder(folder, { role: 'server' });
    await claim.setState('draining');
    await expect(claimFolder(folder, { role: 'server', drainWaitMs: 0 })).rejects.toThrow(/draining since/);
    await claim.release();
  });
});
