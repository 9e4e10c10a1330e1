/** `npm run import:openclaw -- <folder or file> [--agent id] [--dry-run] [--json]`: imports the sessions of an OpenClaw installation. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ConfigError, readConfig } from '../src/config.ts';
import { openDatabaseForCommand } from '../src/embedded/command-database.ts';
import { openOpenClaw } from '../src/import/openclaw/openclaw-source.ts';
import { NothingToImportError } from '../src/import/openclaw/state-folder.ts';
import { formatReport, type ImportReport, ImportReportBuilder } from '../src/import/report.ts';
import { runImport } from '../src/import/run.ts';
import { createLog } from '../src/log.ts';

const USAGE = `Usage: npm run import:openclaw -- <folder or file> [--agent id] [--dry-run] [--json]

  <folder or file>  an OpenClaw state folder such as ~/.openclaw, an agent's folder, a sessions folder, or one transcript (*.jsonl)
  --agent id        in a folder of several agents, import this one only; else, the agent that the sessions belong to
  --dry-run         report what would be imported, and write nothing
  --json            print the report as JSON`;

interface Command {
  readonly path: string;
  readonly agentId: string | null;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** The command's arguments; null if they are invalid or ask for help. */
function readCommand(): Command | null {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        agent: { type: 'string' },
        'dry-run': { type: 'boolean' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    const [path] = positionals;
    if (path === undefined || positionals.length > 1 || values.help === true) return null;
    return { path, agentId: values.agent ?? null, dryRun: values['dry-run'] === true, json: values.json === true };
  } catch {
    return null;
  }
}

async function importOpenClaw({ path, agentId, dryRun }: Command): Promise<ImportReport> {
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

function explain(error: unknown): string {
  if (error instanceof ConfigError || error instanceof NothingToImportError) return error.message;
  return error instanceof Error ? `The import failed: ${error.message}` : String(error);
}

const command = readCommand();
if (command === null) {
  process.stderr.write(`${USAGE}\n`);
  process.exitCode = 1;
} else {
  try {
    const report = await importOpenClaw(command);
    process.stdout.write(`${command.json ? JSON.stringify(report, null, 2) : formatReport(report)}\n`);
    if (report.failures.length > 0) process.exitCode = 1;
  } catch (error) {
    process.stderr.write(`${explain(error)}\n`);
    process.exitCode = 1;
  }
}
