/** Parameters of a Prisma connection URL that the Postgres driver does not know. */
const PRISMA_ONLY = [
  'schema',
  'connection_limit',
  'pool_timeout',
  'connect_timeout',
  'socket_timeout',
  'pgbouncer',
  'statement_cache_size',
  'sslaccept',
  'sslidentity',
  'sslpassword',
];

/** A connection URL taken apart into what the driver takes and what only Prisma knows. */
export interface ConnectionUrl {
  /** For the driver: without the parameters only Prisma knows. */
  readonly connectionString: string;
  /** Where `_prisma_migrations` lies: the URL's `?schema=`, else `public`. */
  readonly schema: string;
  /** For people: host, port and database, without the credentials. */
  readonly description: string;
}

/** Takes a `postgres://` or `postgresql://` URL apart. */
export function parseConnectionUrl(text: string): ConnectionUrl {
  const url = new URL(text);
  const schema = url.searchParams.get('schema') || 'public';
  for (const name of PRISMA_ONLY) url.searchParams.delete(name);
  return { connectionString: url.href, schema, description: `${url.host || 'localhost'}${url.pathname}` };
}
