import { chmod, mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  dataFolderPath,
  defaultDataFolder,
  firstClosedFolder,
  makeReachable,
  prepareDataFolder,
  writePrivateFile,
} from '../../../src/embedded/data-folder.ts';

let folder: string;

beforeEach(async () => {
  folder = await prepareDataFolder(await mkdtemp(join(tmpdir(), 'sessiongraph-test-')));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

describe('defaultDataFolder', () => {
  const user = { platform: 'linux', home: '/home/ada', isRoot: false, userDataHome: null } as const;

  it('is in the data folder of an ordinary user', () => {
    expect(defaultDataFolder(user)).toBe('/home/ada/.local/share/sessiongraph');
    expect(defaultDataFolder({ ...user, userDataHome: '/data/ada' })).toBe('/data/ada/sessiongraph');
    expect(defaultDataFolder({ ...user, platform: 'darwin', home: '/Users/ada' })).toBe(
      '/Users/ada/Library/Application Support/sessiongraph',
    );
  });

  it("is a system folder for root, because the Postgres account cannot enter root's home", () => {
    expect(defaultDataFolder({ ...user, home: '/root', isRoot: true })).toBe('/var/lib/sessiongraph');
  });
});

describe('dataFolderPath', () => {
  it('makes a configured folder absolute', () => {
    expect(dataFolderPath('some where', null)).toBe(join(process.cwd(), 'some where'));
  });
});

const otherAccount = { name: 'other', uid: 54_321, gid: 54_321 };

describe('firstClosedFolder', () => {
  it('returns the topmost folder that the account cannot enter, or null', async () => {
    await mkdir(join(folder, 'closed', 'open'), { recursive: true });
    await chmod(folder, 0o711);
    await chmod(join(folder, 'closed'), 0o700);
    expect(await firstClosedFolder(join(folder, 'closed', 'open'), otherAccount)).toBe(join(folder, 'closed'));
    await chmod(join(folder, 'closed'), 0o711);
    expect(await firstClosedFolder(join(folder, 'closed', 'open'), otherAccount)).toBeNull();
  });
});

describe('makeReachable', () => {
  it('gives the data folder mode 0711: others can enter it but not list it', async () => {
    await chmod(folder, 0o700);
    await makeReachable(folder, otherAccount);
    expect((await stat(folder)).mode & 0o777).toBe(0o711);
  });

  it('names a parent folder that the account cannot enter, and does not change it', async () => {
    const data = join(folder, 'closed', 'data');
    await mkdir(data, { recursive: true });
    await chmod(folder, 0o711);
    await chmod(join(folder, 'closed'), 0o700);
    await expect(makeReachable(data, otherAccount)).rejects.toThrow(`as the user other, who cannot enter ${join(folder, 'closed')}.`);
    expect((await stat(join(folder, 'closed'))).mode & 0o777).toBe(0o700);
  });
});

describe('writePrivateFile', () => {
  it('replaces the file and gives it mode 0600', async () => {
    await writePrivateFile(folder, 'secret', 'one');
    await writePrivateFile(folder, 'secret', 'two');
    expect(await readdir(folder)).toEqual(['secret']);
    expect((await stat(join(folder, 'secret'))).mode & 0o777).toBe(0o600);
  });
});
