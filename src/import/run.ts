import { resolve } from 'node:path';
import { Pool, type PoolClient } from 'pg';
import type { Config } from '../config.ts';
import type { Logger } from '../log.ts';
import { normalizeAgentId } from '../modules/session-key/session-key.rules.ts';
import { parseConnectionUrl } from '../postgres/connection-url.ts';
import { planImport } from './openclaw/openclaw-source.ts';
import { findState } from './openclaw/state-folder.ts';
import { type ImportReport, ImportReportBuilder } from './report.ts';
import type { ImportWriterOptions } from './writer/import-context.ts';
import { writeSession } from './writer/session-import.ts';

/** What to import, and where to. */
export interface OpenClawImport {
  /** A state folder, an agent's or a sessions folder, a store or a transcript. */
  readonly path: string;
  /** In a state folder the only agent to take, else the agent the sessions belong to; null as the path says, else the default agent. */
  readonly agentId: string | null;
  /** Reads and compares, and writes nothing. */
  readonly dryRun: boolean;
  /** A migrated database. */
  readonly databaseUrl: string;
  readonly sessions: Pick<Config['sessions'], 'defaultAgent' | 'mainKey' | 'stalledAfterMs'>;
  readonly log: Pick<Logger, 'debug' | 'warn'>;
}

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Imports the sessions of an OpenClaw installation, each in a transaction of its own: one that fails is in the report, the others come
 * in. A second import of the same writes nothing.
 * @throws NothingToImportError where there is nothing to import at the path; the errors of reading folders
 */
export async function importOpenClaw({ path, agentId, dryRun, databaseUrl, sessions, log }: OpenClawImport): Promise<ImportReport> {
  const source = resolve(path);
  const rules = { defaultAgent: normalizeAgentId(sessions.defaultAgent), mainKey: sessions.mainKey };
  const report = new ImportReportBuilder(source, dryRun);
  const plan = await planImport(await findState(source, agentId, rules.defaultAgent), rules, report);
  const options: ImportWriterOptions = { rules, stalledAfterMs: sessions.stalledAfterMs, dryRun, keysAtSource: plan.keys };
  const pool = new Pool({
    connectionString: parseConnectionUrl(databaseUrl).connectionString,
    max: 1,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    options: '-c timezone=UTC',
    application_name: 'sessiongraph import',
  });
  // A connection that breaks fails the session being written, and is replaced for the next.
  pool.on('error', error => log.warn({ reason: error.message }, 'lost a connection to Postgres'));
  try {
    for (const session of plan.sessions) {
      const name = session.transcript?.name ?? session.fields.key ?? session.externalId;
      try {
        report.addOutcome(await withClient(pool, client => writeSession(client, session, options)));
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

/** A connection that saw a failure is not used again. */
async function withClient<Result>(pool: Pool, work: (client: PoolClient) => Promise<Result>): Promise<Result> {
  const client = await pool.connect();
  // The statement under way fails as well.
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
