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

/** The parts of a connection URL. */
export interface ConnectionUrl {
  /** The URL for the driver: without the parameters that only Prisma knows, and without `options`, which `toClientConfig` merges. */
  readonly connectionString: string;
  /** The URL's own `options`, such as `-c search_path=app`; empty if it has none. */
  readonly options: string;
  /** The schema of the table `_prisma_migrations`: the URL's `?schema=`, `public` by default. */
  readonly schema: string;
  /** The database's name. */
  readonly database: string;
  /** Whether the URL says `pgbouncer=true`, as Prisma's users write it: named prepared statements may not work. */
  readonly isPgBouncer: boolean;
  /** Host, port and database without the credentials, for messages. */
  readonly description: string;
}

/** Parses a `postgres://` or `postgresql://` URL. */
export function parseConnectionUrl(text: string): ConnectionUrl {
  const url = new URL(text);
  const schema = url.searchParams.get('schema') || 'public';
  const options = url.searchParams.get('options') ?? '';
  const isPgBouncer = url.searchParams.get('pgbouncer') === 'true';
  for (const name of [...PRISMA_ONLY, 'options']) url.searchParams.delete(name);
  const description = `${url.host || 'localhost'}${url.pathname}`;
  return { connectionString: url.href, options, schema, database: decodeURIComponent(url.pathname.slice(1)), isPgBouncer, description };
}

/** Postgres settings by name, such as `{ jit: 'off' }`. */
export type PostgresSettings = Readonly<Record<string, string | number>>;

/** The settings that every session needs: cursors and instants are read and written as UTC text, and every transaction is READ COMMITTED. */
const REQUIRED_SETTINGS: PostgresSettings = { timezone: 'UTC', default_transaction_isolation: 'read committed' };

/**
 * The driver's configuration for a connection URL. `options` are merged: our defaults first, then the URL's own options, which replace
 * them, then the settings that the server depends on.
 * @param defaults settings that the URL may replace
 */
export function toClientConfig(
  url: string,
  defaults: PostgresSettings = {},
): { readonly connectionString: string; readonly options: string } {
  const { connectionString, options } = parseConnectionUrl(url);
  const merged = [toOptions(defaults), options, toOptions(REQUIRED_SETTINGS)].filter(text => text !== '').join(' ');
  return { connectionString, options: merged };
}

function toOptions(settings: PostgresSettings): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${String(value).replace(/[\\ ]/g, '\\$&')}`)
    .join(' ');
}
