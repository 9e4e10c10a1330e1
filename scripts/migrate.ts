import { readConfig } from '../src/config.ts';
import { openDatabaseForCommand } from '../src/embedded/command-database.ts';
import { createLog } from '../src/log.ts';
import { parseWords, runCommand } from './command-line.ts';

const USAGE = `npm run migrate

Applies missing migrations, as every start of the server does: to the database of DATABASE_URL, or to the embedded one.
`;

async function run(words: readonly string[]): Promise<void> {
  parseWords({ args: [...words], options: {} });
  const config = readConfig();
  const database = await openDatabaseForCommand(config.database, createLog(config.logLevel), 'migrate');
  await database.close();
  const outcome = database.applied.length === 0 ? 'No migrations were missing.' : `Applied ${database.applied.join(', ')}.`;
  process.stdout.write(`Database: ${database.description}\n${outcome}\n`);
}

await runCommand({ name: 'migrate', usage: USAGE, run });
