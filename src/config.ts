import { z } from 'zod';

/** The version of this server, as in package.json. */
export const VERSION = '0.1.0';

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);

/** True for a host that only this machine reaches. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.has(host);
}

/**
 * Milliseconds of a duration such as `500ms`, `30s`, `5m`, `2h` or `7d`; null where it is none.
 */
export function parseDuration(text: string): number | null {
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(text);
  return match === null ? null : Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS];
}

const duration = (fallback: string, lowestMs = 1) =>
  z
    .string()
    .default(fallback)
    .transform((text, context) => {
      const milliseconds = parseDuration(text);
      if (milliseconds !== null && milliseconds >= lowestMs) return milliseconds;
      context.addIssue(`"${text}" is not a duration such as 30s, 5m or 7d`);
      return z.NEVER;
    });

const integer = (fallback: number, lowest: number, highest: number) =>
  z
    .string()
    .default(String(fallback))
    .transform((text, context) => {
      const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
      if (value >= lowest && value <= highest) return value;
      context.addIssue(`"${text}" is not a whole number from ${lowest} to ${highest}`);
      return z.NEVER;
    });

const SIZE_UNITS = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

/** Bytes of a size such as `512KiB`, `32MiB` or `1GiB`; null where it is none. */
function parseSize(text: string): number | null {
  const match = /^(\d+)(KiB|MiB|GiB)$/.exec(text);
  return match === null ? null : Number(match[1]) * SIZE_UNITS[match[2] as keyof typeof SIZE_UNITS];
}

const size = (fallback: string, lowest: string, highest: string) =>
  z
    .string()
    .default(fallback)
    .transform((text, context) => {
      const bytes = parseSize(text);
      if (bytes !== null && bytes >= Number(parseSize(lowest)) && bytes <= Number(parseSize(highest))) return bytes;
      context.addIssue(`"${text}" is not a size from ${lowest} to ${highest}`);
      return z.NEVER;
    });

const name = (fallback: string) =>
  z
    .string()
    .default(fallback)
    .transform(text => text.toLowerCase())
    .refine(text => /^[a-z0-9][a-z0-9_-]{0,63}$/.test(text), 'must be letters, digits, "-" and "_", at most 64');

const flag = () => z.enum(['true', 'false', '1', '0', 'on', 'off']).transform(text => text === 'true' || text === '1' || text === 'on');

/** An origin as browsers send it: scheme, host and port, nothing else. */
function isOrigin(text: string): boolean {
  return URL.canParse(text) && ['http:', 'https:'].includes(new URL(text).protocol) && new URL(text).origin === text;
}

const origins = z
  .string()
  .default('')
  .transform((text, context) => {
    const given = text.split(',').map(origin => origin.trim());
    const listed = given.filter(origin => origin !== '');
    const wrong = listed.find(origin => !isOrigin(origin));
    if (wrong === undefined) return listed;
    context.addIssue(`"${wrong}" is not an origin such as https://app.example.com`);
    return z.NEVER;
  });

const postgresUrl = z.string().refine(text => {
  try {
    return ['postgres:', 'postgresql:'].includes(new URL(text).protocol);
  } catch {
    return false;
  }
}, 'is not a postgres:// or postgresql:// URL');

/** Keys fetched over plain HTTP could be anyone's; on this machine they are for trying things out. */
const keySetUrl = z.string().refine(text => {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  return protocol === 'https:' || (protocol === 'http:' && LOOPBACK.has(hostname.replace(/^\[|\]$/g, '')));
}, 'is not an https:// URL');

const redisUrl = z
  .string()
  .refine(text => URL.canParse(text) && ['redis:', 'rediss:'].includes(new URL(text).protocol), 'is not a redis:// or rediss:// URL');

const environment = z.object({
  HOST: z
    .string()
    .default('127.0.0.1')
    .refine(host => /^[^\s/]+$/.test(host), 'is no address and no name of a host'),
  PORT: integer(4000, 0, 65_535),
  DATABASE_URL: postgresUrl.optional(),
  DATABASE_POOL: integer(20, 2, 1_000),
  SESSIONGRAPH_DATA: z.string().optional(),
  XDG_DATA_HOME: z.string().optional(),
  AUTH: z.enum(['auto', 'required', 'off']).default('auto'),
  JWT_JWKS_URL: keySetUrl.optional(),
  JWT_ISSUER: z.string().optional(),
  JWT_AUDIENCE: z.string().optional(),
  JWT_SCOPES_CLAIM: z.string().default('scope'),
  JWT_AGENTS_CLAIM: z.string().optional(),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  STALLED_AFTER: duration('5m'),
  TRASH_DAYS: integer(30, 1, 3_650),
  EVENT_RETENTION: duration('7d'),
  MAX_TOKEN_LIMIT: integer(10_000_000, 1, 2_147_483_647),
  MAX_QUERY_COST: integer(20_000, 1, 1_000_000_000),
  MAX_QUERY_DEPTH: integer(20, 1, 1_000),
  // V8 has no texts of more than 512 MiB.
  MAX_RESPONSE_SIZE: size('32MiB', '64KiB', '256MiB'),
  RATE_LIMIT_REQUESTS: integer(100, 0, 1_000_000_000),
  RATE_LIMIT_WRITES: integer(6_000, 0, 1_000_000_000),
  RATE_LIMIT_CREATIONS: integer(10, 0, 1_000_000_000),
  RATE_LIMIT_MANAGEMENT: integer(50, 0, 1_000_000_000),
  REDIS_URL: redisUrl.optional(),
  REQUEST_TIMEOUT: duration('30s'),
  DRAIN_DELAY: duration('250ms', 0),
  DEFAULT_AGENT: name('main'),
  MAIN_KEY: name('main'),
  GRAPHIQL: flag().optional(),
  INTROSPECTION: flag().optional(),
  CORS_ORIGINS: origins,
  PERSISTED_DOCUMENTS: z.string().optional(),
  PERSISTED_ONLY: flag().default(false),
});

const consistentEnvironment = environment.refine(env => env.PERSISTED_ONLY !== true || env.PERSISTED_DOCUMENTS !== undefined, {
  path: ['PERSISTED_ONLY'],
  message: 'needs PERSISTED_DOCUMENTS, the file of the documents that may be run',
  // Also beside other faults, so that all are told at once.
  when: () => true,
});

/** All settings, each in its unit; read once at start and handed down. */
export interface Config {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly database: {
    /** An outside Postgres; null starts the embedded one. */
    readonly url: string | null;
    readonly poolSize: number;
    /** Where the embedded Postgres lies; null is the user's data folder. */
    readonly dataFolder: string | null;
    /** The user's data folder where the system names one (XDG base directories); null is the usual place. */
    readonly userDataHome: string | null;
  };
  readonly auth: {
    /** `auto` asks for nothing until there is an API key; only on a loopback address, and without an identity provider. */
    readonly mode: 'auto' | 'required' | 'off';
    /** An identity provider whose tokens let callers in. */
    readonly jwt: {
      readonly jwksUrl: string;
      readonly issuer: string;
      readonly audience: string;
      readonly scopesClaim: string;
      /** Null: tokens are for all agents. */
      readonly agentsClaim: string | null;
    } | null;
  };
  readonly logLevel: string;
  readonly sessions: {
    readonly stalledAfterMs: number;
    readonly trashDays: number;
    readonly maxTokenLimit: number;
    readonly defaultAgent: string;
    readonly mainKey: string;
  };
  readonly events: { readonly retentionMs: number };
  readonly limits: {
    readonly maxQueryCost: number;
    readonly maxQueryDepth: number;
    readonly requestTimeoutMs: number;
    readonly maxResponseBytes: number;
  };
  /** What one caller may do in a minute; 0 is as much as it likes. */
  readonly rateLimits: { readonly requests: number; readonly writes: number; readonly creations: number; readonly management: number };
  /** Where all servers count together; null counts in each on its own. */
  readonly redisUrl: string | null;
  /** Where spans go, as OpenTelemetry's variables say; null traces nothing. */
  readonly tracing: { readonly exporter: 'otlp' | 'console'; readonly protocol: 'http/protobuf' | 'http/json' } | null;
  /** Told to stop, the server is not ready for so long before it stops taking requests. */
  readonly drainDelayMs: number;
  readonly graphiql: boolean;
  /** Whether clients may ask for the schema, and are told names of it they may have meant. */
  readonly introspection: boolean;
  /** Pages of these may use the server from a browser. */
  readonly corsOrigins: readonly string[];
  readonly persisted: {
    /** A file of trusted documents. */
    readonly documentsFile: string | null;
    /** Nothing but trusted documents is run. */
    readonly only: boolean;
  };
}

/** Every fault of a configuration, one a line, as `NAME what is wrong with it`. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(`The configuration has ${faults.length} fault(s):\n${faults.map(fault => `  ${fault}`).join('\n')}`);
    this.faults = faults;
  }
}

const JWT_NAMES = ['JWT_JWKS_URL', 'JWT_ISSUER', 'JWT_AUDIENCE'] as const;

/** What of the settings for authentication does not go together. */
function authConflicts(set: Readonly<Record<string, string | undefined>>): readonly string[] {
  const missing = JWT_NAMES.filter(name => set[name] === undefined);
  const given = JWT_NAMES.find(name => set[name] !== undefined);
  const conflicts = given === undefined ? [] : missing.map(name => `${name} is needed where ${given} is set`);
  if (set.AUTH !== 'off') return conflicts;
  if (given !== undefined) conflicts.push(`AUTH must not be off where ${given} is set`);
  if (set.HOST !== undefined && !LOOPBACK.has(set.HOST)) {
    conflicts.push(`AUTH must not be off on ${set.HOST}, but only on a loopback address (127.0.0.1, ::1, localhost)`);
  }
  return conflicts;
}

type Environment = z.infer<typeof environment>;

const OTLP_ENDPOINTS = ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'] as const;
const OTLP_PROTOCOLS = ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'] as const;

/**
 * Of OpenTelemetry's variables those that decide whether there is any tracing, and by what; its SDK reads the others.
 * Tracing is on where an endpoint or an exporter is named. Where it is off, nothing is wrong with the other variables: they may be set for
 * all programs of a machine.
 */
function readTracing(set: Readonly<Record<string, string | undefined>>): {
  readonly tracing: Config['tracing'];
  readonly faults: readonly string[];
} {
  const off = { tracing: null, faults: [] };
  const endpoint = OTLP_ENDPOINTS.find(name => set[name] !== undefined);
  const exporter = set.OTEL_TRACES_EXPORTER ?? (endpoint === undefined ? 'none' : 'otlp');
  if (set.OTEL_SDK_DISABLED?.toLowerCase() === 'true' || exporter === 'none') return off;
  if (exporter === 'console') return { tracing: { exporter, protocol: 'http/protobuf' }, faults: [] };
  if (exporter !== 'otlp') return { ...off, faults: [`OTEL_TRACES_EXPORTER "${exporter}" is none of otlp, console and none`] };
  const faults = OTLP_ENDPOINTS.flatMap(name => {
    const url = set[name];
    return url === undefined || /^https?:$/.test(URL.canParse(url) ? new URL(url).protocol : '')
      ? []
      : [`${name} is not an http:// or https:// URL`];
  });
  const named = OTLP_PROTOCOLS.find(name => set[name] !== undefined);
  const protocol = named === undefined ? 'http/protobuf' : set[named];
  if (protocol === 'http/protobuf' || protocol === 'http/json') return { tracing: { exporter, protocol }, faults };
  return { ...off, faults: [...faults, `${named} "${protocol}" is none of http/protobuf and http/json`] };
}

function readAuth(env: Environment): Config['auth'] {
  const { JWT_JWKS_URL: jwksUrl, JWT_ISSUER: issuer, JWT_AUDIENCE: audience } = env;
  const isComplete = jwksUrl !== undefined && issuer !== undefined && audience !== undefined;
  const claims = { scopesClaim: env.JWT_SCOPES_CLAIM, agentsClaim: env.JWT_AGENTS_CLAIM ?? null };
  const jwt = isComplete ? { jwksUrl, issuer, audience, ...claims } : null;
  const mayBeOpen = LOOPBACK.has(env.HOST) && jwt === null;
  return { mode: env.AUTH === 'auto' && !mayBeOpen ? 'required' : env.AUTH, jwt };
}

/**
 * Reads the configuration from environment variables; an empty variable counts as unset.
 * @throws ConfigError naming every fault at once
 */
export function readConfig(variables: Readonly<Record<string, string | undefined>> = process.env): Config {
  const set = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== undefined && value.trim() !== ''));
  const parsed = consistentEnvironment.safeParse(set);
  const { tracing, faults } = readTracing(set);
  const conflicts = [...authConflicts(set), ...faults];
  if (!parsed.success || conflicts.length > 0) {
    const issues = parsed.error?.issues ?? [];
    throw new ConfigError([...issues.map(issue => `${issue.path.join('.')} ${issue.message}`), ...conflicts]);
  }
  const env = parsed.data;
  return {
    host: env.HOST,
    port: env.PORT,
    database: {
      url: env.DATABASE_URL ?? null,
      poolSize: env.DATABASE_POOL,
      dataFolder: env.SESSIONGRAPH_DATA ?? null,
      userDataHome: env.XDG_DATA_HOME ?? null,
    },
    auth: readAuth(env),
    logLevel: env.LOG_LEVEL,
    sessions: {
      stalledAfterMs: env.STALLED_AFTER,
      trashDays: env.TRASH_DAYS,
      maxTokenLimit: env.MAX_TOKEN_LIMIT,
      defaultAgent: env.DEFAULT_AGENT,
      mainKey: env.MAIN_KEY,
    },
    events: { retentionMs: env.EVENT_RETENTION },
    limits: {
      maxQueryCost: env.MAX_QUERY_COST,
      maxQueryDepth: env.MAX_QUERY_DEPTH,
      requestTimeoutMs: env.REQUEST_TIMEOUT,
      maxResponseBytes: env.MAX_RESPONSE_SIZE,
    },
    rateLimits: {
      requests: env.RATE_LIMIT_REQUESTS,
      writes: env.RATE_LIMIT_WRITES,
      creations: env.RATE_LIMIT_CREATIONS,
      management: env.RATE_LIMIT_MANAGEMENT,
    },
    redisUrl: env.REDIS_URL ?? null,
    tracing,
    drainDelayMs: env.DRAIN_DELAY,
    graphiql: env.GRAPHIQL ?? isLoopback(env.HOST),
    introspection: env.INTROSPECTION ?? isLoopback(env.HOST),
    corsOrigins: env.CORS_ORIGINS,
    persisted: { documentsFile: env.PERSISTED_DOCUMENTS ?? null, only: env.PERSISTED_ONLY },
  };
}
