/** `npm run key -- create|list|revoke`: the API keys of a database, also before a server ever ran. */
import { parseArgs } from 'node:util';
import { ConfigError, parseDuration, readConfig } from '../src/config.ts';
import { openDatabaseForCommand } from '../src/embedded/command-database.ts';
import { DomainError, StartError } from '../src/errors.ts';
import { createLog } from '../src/log.ts';
import { ApiKeyLoader, type ApiKeyRow, toCursorInstant } from '../src/modules/api-key/api-key.loader.ts';
import { createApiKey, type KeyManager, revokeApiKey } from '../src/modules/api-key/api-key.service.ts';
import { RATE_CLASSES, type RateClass } from '../src/modules/rate-limit/rate-limit.rules.ts';
import { API_SCOPES, type ApiScope, isApiScope, LOCAL_VIEWER } from '../src/modules/viewer/viewer.rules.ts';
import type { PageWindow } from '../src/postgres/keyset.ts';
import { createDatabase } from '../src/postgres/pooled-database.ts';

const USAGE = `Usage: npm run key -- create --name ci --scope write [--agent id]... [--expires 90d] [--rate-limit-writes 12000]
       npm run key -- list
       npm run key -- revoke <prefix or id>

  create           prints the new key, which is shown once: KEY=$(npm run --silent key -- create --name ci --scope write)
    --name name    for people
    --scope scope  ${API_SCOPES.join(', ').toLowerCase()}; each includes the ones before it
    --agent id     only this agent's sessions; may be given several times
    --expires 90d  after so long it lets nobody in any more; otherwise it never expires
    --rate-limit-requests, --rate-limit-writes, --rate-limit-creations, --rate-limit-management number
                   what it may do in a minute, in place of the server's RATE_LIMIT_…; 0 is as much as it likes
  list             all keys, newest first, revoked and expired ones included
  revoke           ends a key for good, and within a second whatever it holds open on any server`;

/** The call makes no sense. */
class UsageError extends Error {}

type Command = (keeper: KeyManager) => Promise<void>;

function readScope(text: string | undefined): ApiScope {
  const scope = text?.toUpperCase();
  if (isApiScope(scope)) return scope;
  throw new UsageError(`--scope must be one of ${API_SCOPES.join(', ').toLowerCase()}.`);
}

function readExpiry(text: string | undefined): Date | null {
  if (text === undefined) return null;
  const milliseconds = parseDuration(text);
  if (milliseconds === null || milliseconds === 0) throw new UsageError('--expires must be a duration such as 12h or 90d.');
  return new Date(Date.now() + milliseconds);
}

const RATE_LIMIT_OPTIONS = {
  'rate-limit-requests': { type: 'string' },
  'rate-limit-writes': { type: 'string' },
  'rate-limit-creations': { type: 'string' },
  'rate-limit-management': { type: 'string' },
} as const;

/** As the database's integer has it. */
const MAX_RATE_LIMIT = 2_147_483_647;

function readRateLimits(values: { readonly [Option in keyof typeof RATE_LIMIT_OPTIONS]?: string }): Partial<Record<RateClass, number>> {
  const limits: Partial<Record<RateClass, number>> = {};
  for (const name of RATE_CLASSES) {
    const text = values[`rate-limit-${name}`];
    if (text === undefined) continue;
    if (!/^\d+$/.test(text) || Number(text) > MAX_RATE_LIMIT) {
      throw new UsageError(`--rate-limit-${name} must be a whole number from 0 to ${MAX_RATE_LIMIT}.`);
    }
    limits[name] = Number(text);
  }
  return limits;
}

/** @throws UsageError, or the error of parseArgs, where the arguments make no sense */
function readCommand(): Command {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      scope: { type: 'string' },
      agent: { type: 'string', multiple: true },
      expires: { type: 'string' },
      ...RATE_LIMIT_OPTIONS,
    },
  });
  const [verb, subject, ...others] = positionals;
  if (verb === 'create' && subject === undefined) {
    if (values.name === undefined) throw new UsageError('--name is missing.');
    const input = {
      name: values.name,
      scopes: [readScope(values.scope)],
      agentIds: values.agent,
      expiresAt: readExpiry(values.expires),
      rateLimits: readRateLimits(values),
    };
    return keeper => create(keeper, input);
  }
  if (verb === 'list' && subject === undefined) return list;
  if (verb === 'revoke' && subject !== undefined && others.length === 0) return keeper => revoke(keeper, subject);
  throw new UsageError(USAGE);
}

async function create(keeper: KeyManager, input: Parameters<typeof createApiKey>[1]): Promise<void> {
  const { apiKey, secret } = await createApiKey(keeper, input);
  process.stderr.write(`${describe(apiKey)}\n\nThe key, shown once:\n`);
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

async function list(keeper: KeyManager): Promise<void> {
  let number = 0;
  for await (const apiKey of allKeys(keeper)) {
    number += 1;
    process.stdout.write(`${describe(apiKey)}\n`);
  }
  if (number === 0) process.stdout.write('There are no API keys.\n');
}

async function revoke(keeper: KeyManager, subject: string): Promise<void> {
  let id = subject;
  for await (const apiKey of allKeys(keeper)) if (apiKey.prefix === subject) id = apiKey.id;
  process.stdout.write(`${describe(await revokeApiKey(keeper, { id }))}\n`);
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
    ...(limits.length === 0 ? [] : [`a minute ${limits.join(', ')}`]),
    ...(revokedAt === null ? [] : [`revoked ${revokedAt.toISOString()}`]),
  ];
  return `${prefix}…  ${name}  (${facts.join('; ')})  ${id}`;
}

async function run(command: Command): Promise<void> {
  const config = readConfig();
  const log = createLog(config.logLevel);
  const found = await openDatabaseForCommand(config.database, log, 'key');
  const database = createDatabase({
    url: found.url,
    poolSize: 1,
    statementTimeoutMs: config.limits.requestTimeoutMs,
    onConnectionError: error => log.warn({ error: error.message }, 'lost a connection to the database'),
  });
  try {
    await command({ viewer: LOCAL_VIEWER, database, models: database.models });
  } finally {
    await database.close();
    await found.close();
  }
}

try {
  await run(readCommand());
} catch (error) {
  const isParseError = error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
  const isOurs = [UsageError, ConfigError, StartError, DomainError].some(kind => error instanceof kind);
  if (!(error instanceof Error && (isParseError || isOurs))) throw error;
  process.stderr.write(`${isParseError ? `${error.message}\n\n${USAGE}` : error.message}\n`);
  process.exitCode = 1;
}
