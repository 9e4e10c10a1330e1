// npm start: sets up the clone if necessary, then runs the server. The server runs in this process, so it receives its signals.
import { exitOnSetupError, SetupError, setUp } from './setup.mjs';

const USAGE = `npm start

Starts the server, and first installs, generates and builds what is missing. Settings are environment variables, for example
PORT=4001 npm start. The file .env.example describes them all.
`;

const words = process.argv.slice(2);
if (words.includes('--help') || words.includes('-h')) process.stdout.write(USAGE);
else {
  await exitOnSetupError(async () => {
    if (words.length > 0) throw new SetupError(`npm start takes no arguments; got: ${words.join(' ')}. See: npm start -- --help`);
    await setUp();
  });
  await import('../.build/src/main.js');
}
