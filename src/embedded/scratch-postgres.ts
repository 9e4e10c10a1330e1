import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepareDataFolder } from './data-folder.ts';
import { readFolderOwner } from './data-folder-owner.ts';
import { openEmbeddedDatabase } from './embedded-database.ts';
import type { DatabaseLog } from './open-database.ts';
import { stopOrphanedPostgres } from './orphaned-postgres.ts';

const PREFIX = 'sessiongraph-scratch-';
const POOL_SIZE = 200;

const quiet: DatabaseLog = { debug: () => undefined, info: () => undefined, warn: () => undefined };

/**
 * Starts a Postgres in a new temporary folder, for tests. It is fast rather than durable, and closing it deletes the folder.
 * The URL is that of a superuser.
 */
export async function startScratchPostgres(): Promise<{ readonly url: string; close(): Promise<void> }> {
  await removeAbandoned();
  const folder = await prepareDataFolder(await mkdtemp(join(tmpdir(), PREFIX)));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const database = await openEmbeddedDatabase({ folder, role: 'test', poolSize: POOL_SIZE, durable: false, log: quiet });
    return {
      url: database.url,
      async close() {
        await database.close();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Stops and removes what killed test runs left behind. */
async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue;
    const folder = join(tmpdir(), name);
    try {
      const last = await readFolderOwner(folder);
      // A folder without an owner is about to be claimed.
      if (last === null || last.isAlive) continue;
      await stopOrphanedPostgres(folder, quiet);
      await rm(folder, { recursive: true, force: true });
    } catch {
      // It belongs to another user, or another test run removes it too.
    }
  }
}
