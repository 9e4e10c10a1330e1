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

/** Writes the owner file of a process that did not release the folder. */
async function writeOwnerFile(owner: Partial<FolderOwner>, heartbeat = new Date()): Promise<void> {
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
  it('refuses a second owner, with the role, process id and start time of the first', async () => {
    const claim = await claimFolder(folder, { role: 'server' });
    await claim.setState('running');
    await expect(claimFolder(folder, { role: 'seed' })).rejects.toThrow(
      new RegExp(`in use by another Sessiongraph server \\(process ${process.pid}, running since \\d{4}-`),
    );
    await claim.release();
    expect(await readFolderOwner(folder)).toMatchObject({ isAlive: false, owner: { state: 'released' } });
    await (await claimFolder(folder, { role: 'seed' })).release();
  });

  it('gives the folder to exactly one of many concurrent callers', async () => {
    await writeOwnerFile({ pid: deadPid() });
    const claims = await Promise.allSettled(Array.from({ length: 20 }, () => claimFolder(folder, { role: 'server' })));
    expect(claims.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const claim of claims) if (claim.status === 'rejected') expect(claim.reason).toBeInstanceOf(FolderTakenError);
    expect(await readdir(join(folder, 'owner'))).toHaveLength(1);
  });

  it('takes over from a dead process', async () => {
    await writeOwnerFile({ pid: deadPid() });
    await (await claimFolder(folder, { role: 'server' })).release();
  });

  it('takes over from a process whose id now belongs to another process', async () => {
    await writeOwnerFile({ started: 'long ago' });
    await (await claimFolder(folder, { role: 'server' })).release();
  });

  it('takes over from an owner in another container whose heartbeat has stopped', async () => {
    await writeOwnerFile({ scope: 'elsewhere' }, new Date(Date.now() - 60_000));
    await (await claimFolder(folder, { role: 'server' })).release();
  });

  it('refuses the folder while an owner in another container sends heartbeats', async () => {
    await writeOwnerFile({ scope: 'elsewhere' });
    const path = join(folder, 'owner', '7.json');
    const heartbeat = setInterval(() => void utimes(path, new Date(), new Date()), 50);
    await expect(claimFolder(folder, { role: 'server' })).rejects.toThrow(FolderTakenError);
    clearInterval(heartbeat);
  });

  it('waits until a draining owner releases the folder', async () => {
    const claim = await claimFolder(folder, { role: 'server' });
    await claim.setState('draining');
    const next = claimFolder(folder, { role: 'server' });
    await claim.release();
    await (await next).release();
  });

  it('stops waiting when its signal is aborted', async () => {
    const claim = await claimFolder(folder, { role: 'server' });
    await claim.setState('draining');
    const abortController = new AbortController();
    const next = claimFolder(folder, { role: 'server', signal: abortController.signal });
    abortController.abort();
    await expect(next).rejects.toThrow(/aborted/);
    await claim.release();
  });

  it('fails if a draining owner does not release the folder in time', async () => {
    const claim = await claimFolder(folder, { role: 'server' });
    await claim.setState('draining');
    await expect(claimFolder(folder, { role: 'server', drainWaitMs: 0 })).rejects.toThrow(/draining since/);
    await claim.release();
  });
});
