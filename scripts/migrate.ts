import { ConfigError, readConfig } from '../src/config.ts';
import { openDatabaseForCommand } from '../src/embedded/command-database.ts';
import { StartError } from '../src/errors.ts';
import { createLog } from '../src/log.ts';

const USAGE = `npm run migrate

Applies the migrations that the database lacks, as every start does: the one of DATABASE_URL, else the embedded one.
`;

async function run(): Promise<void> {
  const config = readConfig();
  const database = await openDatabaseForCommand(config.database, createLog(config.logLevel), 'migrate');
  await database.close();
  const done = database.applied.length === 0 ? 'has every migration already' : `has now also: ${database.applied.join(', ')}`;
  process.stdout.write(`The database (${database.description}) ${done}.\n`);
}

if (process.argv.length > 2) process.stdout.write(USAGE);
else {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof StartError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
