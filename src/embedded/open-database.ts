import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { dataFolderPath, prepareDataFolder } from './data-folder.ts';
import { openEmbeddedDatabase } from './embedded-database.ts';
import { openOutsideDatabase } from './outside-database.ts';

/** The part of the configuration that decides where the database is. */
export type DatabaseSettings = Omit<Config['database'], 'prepared'>;

export type DatabaseLog = Pick<Logger, 'debug' | 'info' | 'warn'>;

/** A database that accepts connections. */
export interface OpenDatabase {
  /** With the credentials. */
  readonly url: string;
  /** Without the credentials, for messages. */
  readonly description: string;
  /** Resolves with the reason if the embedded Postgres ends without `close`. Never resolves for an outside Postgres. */
  readonly failed: Promise<string>;
  /** Shows that the shutdown has begun: a server that starts on the same data folder then waits for it. */
  drain(): Promise<void>;
  /** Stops the embedded Postgres. Does nothing for an outside one. */
  close(): Promise<void>;
}

/**
 * Opens the database for a server: the one in DATABASE_URL, else the embedded Postgres, whose data folder this process then owns.
 * @param signal ends the wait for a server that is draining
 * @throws StartError if no database can be opened, FolderTakenError if another server uses the data folder
 */
export async function openDatabase(settings: DatabaseSettings, log: DatabaseLog, signal?: AbortSignal): Promise<OpenDatabase> {
  if (settings.url !== null) return openOutsideDatabase(settings.url, log);
  const folder = await prepareDataFolder(dataFolderPath(settings.dataFolder, settings.userDataHome));
  return openEmbeddedDatabase({ folder, role: 'server', poolSize: settings.poolSize, durable: true, log, signal });
}
