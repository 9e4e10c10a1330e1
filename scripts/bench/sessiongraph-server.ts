/** Runs the server as main.ts does, with its defaults, on a free port. Its parent writes standard error, which has the log, to a file. */
import { createApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { createLog } from '../../src/log.ts';
import { serveParent } from './child-server.ts';

serveParent(async ({ databaseUrl, poolSize }) => {
  const config = readConfig({
    DATABASE_URL: databaseUrl,
    DATABASE_POOL: String(poolSize),
    PORT: '0',
    GRAPHIQL: 'false',
  });
  const app = await createApp({ config, databaseUrl, log: createLog(config.logLevel) });
  const { url } = await app.listen();
  return { port: Number(new URL(url).port), close: () => app.close() };
});
