/** Runs the server as main.ts does, on a free port. */
import { createApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import { createLog } from '../../src/log.ts';
import { serveParent } from './child-server.ts';

serveParent(async ({ databaseUrl, poolSize }) => {
  const config = readConfig({
    DATABASE_URL: databaseUrl,
    DATABASE_POOL: String(poolSize),
    PORT: '0',
    LOG_LEVEL: 'error',
    GRAPHIQL: 'false',
  });
  const app = await createApp({ config, databaseUrl, log: createLog(config.logLevel) });
  const { url } = await app.listen();
  return { port: Number(new URL(url).port), close: () => app.close() };
});
