import pRetry from 'p-retry';
import { DatabaseError, Pool, type PoolClient } from 'pg';
import type { Config } from '../config.ts';
import type { Logger } from '../log.ts';
import type { KeyRules } from '../modules/session-key/session-key.rules.ts';
import { parseConnectionUrl } from '../postgres/connection-url.ts';
import type { ImportReport, ImportReportBuilder } from './report.ts';
import type { ImportSource } from './source.ts';
import { ConcurrentChangeError, type ImportOptions } from './writer/import-context.ts';
import { importSession } from './writer/session-import.ts';

/** What to import, and into which database. */
export interface ImportRun {
  readonly source: ImportSource;
  /** What the source reported while it was opened; the run adds to it. */
  readonly report: ImportReportBuilder;
  readonly rules: KeyRules;
  readonly stalledAfterMs: Config['sessions']['stalledAfterMs'];
  /** A migrated database. */
  readonly databaseUrl: string;
  readonly log: Pick<Logger, 'debug' | 'warn'>;
}

const CONNECT_TIMEOUT_MS = 10_000;

const MAX_RETRIES = 4;
/** SQLSTATE unique violation, foreign key violation, serialization failure, deadlock: caused by another writer, gone in a new attempt. */
const CONFLICTS: ReadonlySet<string | undefined> = new Set(['23505', '23503', '40001', '40P01']);

/**
 * Imports every session of a source, each in its own transaction: a session that fails is listed in the report, and the run continues
 * with the next. A second run of an unchanged source writes nothing.
 * @throws errors of reading the source's list of sessions
 */
export async function runImport({ source, report, rules, stalledAfterMs, databaseUrl, log }: ImportRun): Promise<ImportReport> {
  const { dryRun } = report;
  const options: ImportOptions = { rules, stalledAfterMs, dryRun, sessionsWithKey: source.sessionsWithKey };
  const pool = new Pool({
    connectionString: parseConnectionUrl(databaseUrl).connectionString,
    max: 1,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    options: '-c timezone=UTC',
    application_name: 'sessiongraph import',
  });
  // A broken connection fails the session that is being written; the next session gets a new connection.
  pool.on('error', error => log.warn({ reason: error.message }, 'lost a connection to Postgres'));
  try {
    for await (const session of source.sessions()) {
      const name = session.records?.name ?? session.fields.key ?? session.externalId;
      try {
        report.addOutcome(await withClient(pool, client => withRetry(() => importSession(client, session, options))));
        log.debug({ session: session.id, name }, 'imported a session');
      } catch (error) {
        log.warn({ session: session.id, name, err: error }, 'could not import a session');
        report.addFailure(name, error);
      }
    }
  } finally {
    await pool.end();
  }
  return report.build();
}

/** Repeats an import that another writer made fail. */
function withRetry<Result>(attempt: () => Promise<Result>): Promise<Result> {
  return pRetry(attempt, {
    retries: MAX_RETRIES,
    minTimeout: 0,
    shouldRetry: ({ error }) => error instanceof ConcurrentChangeError || (error instanceof DatabaseError && CONFLICTS.has(error.code)),
  });
}

/** Runs work on a connection of the pool. After a failure the connection is closed instead of being used again. */
async function withClient<Result>(pool: Pool, work: (client: PoolClient) => Promise<Result>): Promise<Result> {
  const client = await pool.connect();
  // If the connection breaks, the current statement fails too and reports it.
  const ignore = () => undefined;
  client.on('error', ignore);
  let failed = true;
  try {
    const result = await work(client);
    failed = false;
    return result;
  } finally {
    client.off('error', ignore);
    client.release(failed);
  }
}
