import { resolve } from 'node:path';
import { ConfigError, readConfig } from '../src/config.ts';
import { openDatabaseForCommand } from '../src/embedded/command-database.ts';
import { reasonOf } from '../src/errors.ts';
import { openOpenClaw } from '../src/import/openclaw/openclaw-source.ts';
import { NothingToImportError } from '../src/import/openclaw/state-folder.ts';
import { formatReport, type ImportReport, ImportReportBuilder } from '../src/import/report.ts';
import { runImport } from '../src/import/run.ts';
import { createLog } from '../src/log.ts';
import { CommandError, parseWords, runCommand, UsageError } from './command-line.ts';

const USAGE = `npm run import:openclaw -- <folder or file> [--agent ID] [--dry-run] [--json]

Imports the sessions of an OpenClaw installation. It never writes to the source. A second run imports only what is new.

  <folder or file>  an OpenClaw state folder such as ~/.openclaw, an agent's folder, a sessions folder, or one transcript (*.jsonl)
  --agent ID        in a folder of several agents, import this one only; otherwise, the agent that the sessions belong to
  --dry-run         report what would be imported, and write nothing
  --json            print the report as JSON
`;

interface ImportArguments {
  readonly path: string;
  readonly agentId: string | null;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** @throws UsageError */
function readArguments(words: readonly string[]): ImportArguments {
  const { values, positionals } = parseWords({
    args: [...words],
    allowPositionals: true,
    options: { agent: { type: 'string' }, 'dry-run': { type: 'boolean' }, json: { type: 'boolean' } },
  });
  const [path, ...others] = positionals;
  if (path === undefined || others.length > 0) throw new UsageError('Give exactly one folder or file.');
  return { path, agentId: values.agent ?? null, dryRun: values['dry-run'] ?? false, json: values.json ?? false };
}

async function importOpenClaw({ path, agentId, dryRun }: ImportArguments): Promise<ImportReport> {
  const { logLevel, database: settings, sessions } = readConfig();
  const log = createLog(logLevel);
  const report = new ImportReportBuilder(resolve(path), dryRun);
  const source = await openOpenClaw({ path: report.source, agentId, rules: sessions }, report);
  const database = await openDatabaseForCommand(settings, log, 'import:openclaw');
  try {
    const { stalledAfterMs } = sessions;
    return await runImport({ source, report, rules: sessions, stalledAfterMs, databaseUrl: database.url, log });
  } finally {
    await database.close();
  }
}

async function run(words: readonly string[]): Promise<void> {
  const options = readArguments(words);
  const report = await importOpenClaw(options).catch(error => {
    if (error instanceof ConfigError) throw error;
    const reason = reasonOf(error);
    throw new CommandError(error instanceof NothingToImportError ? reason : `The import failed: ${reason}`);
  });
  process.stdout.write(`${options.json ? JSON.stringify(report, null, 2) : formatReport(report)}\n`);
  if (report.failures.length > 0) process.exitCode = 1;
}

await runCommand({ name: 'import:openclaw', usage: USAGE, run });
