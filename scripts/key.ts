import { parseDuration, readConfig } from '../src/config.ts';
import { openDatabaseForCommand } from '../src/embedded/command-database.ts';
import { createLog } from '../src/log.ts';
import { ApiKeyLoader, type ApiKeyRow, toCursorInstant } from '../src/modules/api-key/api-key.loader.ts';
import { createApiKey, type KeyManager, revokeApiKey } from '../src/modules/api-key/api-key.service.ts';
import { RATE_CLASSES, type RateClass } from '../src/modules/rate-limit/rate-limit.rules.ts';
import { API_SCOPES, type ApiScope, isApiScope, LOCAL_VIEWER } from '../src/modules/viewer/viewer.rules.ts';
import type { PageWindow } from '../src/postgres/keyset.ts';
import { createDatabase } from '../src/postgres/pooled-database.ts';
import { parseWords, readWholeNumber, runCommand, UsageError } from './command-line.ts';

const SCOPES = API_SCOPES.join(', ').toLowerCase();

const USAGE = `npm run key -- create --name ci --scope write [--agent ID]... [--expires 90d] [--rate-limit-writes N]...
npm run key -- list
npm run key -- revoke <prefix or id>

Creates, lists and revokes API keys. Works with and without a running server.

create           prints the new key on standard output. It is shown only once. In a shell script:
                 KEY=$(npm run --silent key -- create --name ci --scope write)
  --name NAME    a name for lists of keys
  --scope SCOPE  ${SCOPES}; each scope includes the previous ones
  --agent ID     the key may use only this agent's sessions; repeat it for several agents
  --expires AGE  the key expires after this duration, such as 12h or 90d; by default it never expires
  --rate-limit-requests N, --rate-limit-writes N, --rate-limit-creations N, --rate-limit-management N
                 limits per minute that replace the server's RATE_LIMIT_... settings; 0 is no limit
list             prints all keys, newest first, including revoked and expired ones
revoke           revokes a key for ever; within a second, every server closes the connections that use it
`;

/** What the arguments ask for. */
type KeyAction = (keys: KeyManager) => Promise<void>;

function readScope(text: string | undefined): ApiScope {
  const scope = text?.toUpperCase();
  if (isApiScope(scope)) return scope;
  throw new UsageError(`--scope must be one of ${SCOPES}${text === undefined ? '' : `; got "${text}"`}.`);
}

function readExpiry(text: string | undefined): Date | null {
  if (text === undefined) return null;
  const milliseconds = parseDuration(text);
  if (milliseconds === null || milliseconds === 0) throw new UsageError(`--expires must be a duration such as 12h or 90d; got "${text}".`);
  return new Date(Date.now() + milliseconds);
}

const RATE_LIMIT_OPTIONS = {
  'rate-limit-requests': { type: 'string' },
  'rate-limit-writes': { type: 'string' },
  'rate-limit-creations': { type: 'string' },
  'rate-limit-management': { type: 'string' },
} as const;

/** The highest value of Postgres' type integer. */
const MAX_RATE_LIMIT = 2_147_483_647;

function readRateLimits(values: { readonly [Option in keyof typeof RATE_LIMIT_OPTIONS]?: string }): Partial<Record<RateClass, number>> {
  const limits: Partial<Record<RateClass, number>> = {};
  for (const name of RATE_CLASSES) {
    const option = `rate-limit-${name}` as const;
    const text = values[option];
    if (text !== undefined) limits[name] = readWholeNumber(`--${option}`, text, 0, MAX_RATE_LIMIT);
  }
  return limits;
}

/** @throws UsageError */
function readAction(words: readonly string[]): KeyAction {
  const { values, positionals } = parseWords({
    args: [...words],
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      scope: { type: 'string' },
      agent: { type: 'string', multiple: true },
      expires: { type: 'string' },
      ...RATE_LIMIT_OPTIONS,
    },
  });
  const [action, subject, ...others] = positionals;
  if (action === 'create' && subject === undefined) {
    if (values.name === undefined) throw new UsageError('--name is missing.');
    const input = {
      name: values.name,
      scopes: [readScope(values.scope)],
      agentIds: values.agent,
      expiresAt: readExpiry(values.expires),
      rateLimits: readRateLimits(values),
    };
    return keys => create(keys, input);
  }
  if (action === 'list' && subject === undefined) return list;
  if (action === 'revoke' && subject !== undefined && others.length === 0) return keys => revoke(keys, subject);
  throw new UsageError('The first argument must be create, list, or revoke with the prefix or id of one key.');
}

async function create(keys: KeyManager, input: Parameters<typeof createApiKey>[1]): Promise<void> {
  const { apiKey, secret } = await createApiKey(keys, input);
  process.stderr.write(`${describe(apiKey)}\n\nThe key, shown only once:\n`);
  process.stdout.write(`${secret}\n`);
}

async function* allKeys({ viewer, models }: KeyManager): AsyncGenerator<ApiKeyRow> {
  const loader = new ApiKeyLoader(models, viewer);
  for (let after: PageWindow['after'] = null; ; ) {
    const { rows, hasNextPage } = await loader.page({ limit: 100, inverted: false, after, before: null });
    yield* rows;
    const last = rows.at(-1);
    if (!hasNextPage || last === undefined) return;
    after = [toCursorInstant(last.createdAt), last.id];
  }
}

async function list(keys: KeyManager): Promise<void> {
  let count = 0;
  for await (const apiKey of allKeys(keys)) {
    count += 1;
    process.stdout.write(`${describe(apiKey)}\n`);
  }
  if (count === 0) process.stdout.write('There are no API keys.\n');
}

async function revoke(keys: KeyManager, subject: string): Promise<void> {
  let id = subject;
  for await (const apiKey of allKeys(keys)) if (apiKey.prefix === subject) id = apiKey.id;
  process.stdout.write(`${describe(await revokeApiKey(keys, { id }))}\n`);
}

function describe({ id, name, prefix, scopes, agentIds, expiresAt, lastUsedAt, revokedAt, rateLimits }: ApiKeyRow): string {
  const limits = RATE_CLASSES.flatMap(rateClass => {
    const limit = rateLimits[rateClass];
    return limit === undefined ? [] : `${limit === 0 ? 'unlimited' : limit} ${rateClass}`;
  });
  const facts = [
    scopes.join(' ').toLowerCase(),
    agentIds === null ? 'all agents' : `only ${agentIds.join(', ')}`,
    expiresAt === null ? 'never expires' : `expires ${expiresAt.toISOString()}`,
    lastUsedAt === null ? 'never used' : `last used ${lastUsedAt.toISOString()}`,
    ...(limits.length === 0 ? [] : [`per minute: ${limits.join(', ')}`]),
    ...(revokedAt === null ? [] : [`revoked ${revokedAt.toISOString()}`]),
  ];
  return `${prefix}…  ${name}  (${facts.join('; ')})  ${id}`;
}

async function run(words: readonly string[]): Promise<void> {
  const act = readAction(words);
  const config = readConfig();
  const log = createLog(config.logLevel);
  const found = await openDatabaseForCommand(config.database, log, 'key');
  const database = createDatabase({
    url: found.url,
    poolSize: 1,
    prepared: config.database.prepared,
    statementTimeoutMs: config.limits.requestTimeoutMs,
    onConnectionError: error => log.warn({ error: error.message }, 'lost a connection to Postgres'),
  });
  try {
    await act({ viewer: LOCAL_VIEWER, database, models: database.models });
  } finally {
    await database.close();
    await found.close();
  }
}

await runCommand({ name: 'key', usage: USAGE, run });
