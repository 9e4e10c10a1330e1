import { z } from 'zod';

/** The version of this server, as in package.json. */
export const VERSION = '0.1.0';

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const UNIT_BYTES = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);

/** Whether only programs on this machine can reach the host. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.has(host);
}

/** Milliseconds of a duration such as `500ms`, `30s`, `5m`, `2h` or `7d`; null for other texts. */
export function parseDuration(text: string): number | null {
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(text);
  return match === null ? null : Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS];
}

/** Bytes of a size such as `512KiB`, `32MiB` or `1GiB`; null for other texts. */
function parseSize(text: string): number | null {
  const match = /^(\d+)(KiB|MiB|GiB)$/.exec(text);
  return match === null ? null : Number(match[1]) * UNIT_BYTES[match[2] as keyof typeof UNIT_BYTES];
}

function isUrl(text: string, ...protocols: readonly string[]): boolean {
  return URL.canParse(text) && protocols.includes(new URL(text).protocol);
}

/**
 * A variable of this form.
 * @param parse returns the value of a text; null if the text is invalid
 * @param form what a valid text is, such as `a whole number from 1 to 9`
 * @param isSecret true if messages must not contain the text
 */
function variable<Value>(parse: (text: string) => Value | null, form: string, isSecret = false) {
  return z.string().transform((text, context) => {
    const value = parse(text);
    if (value !== null) return value;
    context.addIssue(`must be ${form}${isSecret ? '' : `; got "${text}"`}`);
    return z.NEVER;
  });
}

/** A URL, which may contain a password. */
const url = (form: string, ...protocols: readonly string[]) => variable(text => (isUrl(text, ...protocols) ? text : null), form, true);

const integer = (fallback: number, lowest: number, highest: number) =>
  variable(
    text => (/^\d+$/.test(text) && Number(text) >= lowest && Number(text) <= highest ? Number(text) : null),
    `a whole number from ${lowest} to ${highest}`,
  ).prefault(String(fallback));

/** A time in the past or the future that no timer waits for: a century. */
const LONGEST_PERIOD = '36500d';

/** 24.8 days. A timer of Node that is set to more than 2,147,483,647 ms fires at once; the rest is for times that are added to a variable. */
const LONGEST_TIMER = '596h';

const duration = (fallback: string, highest: string, lowest = '1ms') =>
  variable(text => {
    const milliseconds = parseDuration(text);
    const isValid =
      milliseconds !== null && milliseconds >= Number(parseDuration(lowest)) && milliseconds <= Number(parseDuration(highest));
    return isValid ? milliseconds : null;
  }, `a duration such as 30s, 5m or 7d, from ${lowest} to ${highest}`).prefault(fallback);

const size = (fallback: string, lowest: string, highest: string) =>
  variable(text => {
    const bytes = parseSize(text);
    return bytes === null || bytes < Number(parseSize(lowest)) || bytes > Number(parseSize(highest)) ? null : bytes;
  }, `a size from ${lowest} to ${highest}`).prefault(fallback);

const name = (fallback: string) =>
  variable(
    text => (/^[a-z0-9][a-z0-9_-]{0,63}$/i.test(text) ? text.toLowerCase() : null),
    'at most 64 letters, digits, "-" and "_"',
  ).prefault(fallback);

const oneOf = <Word extends string>(...words: readonly Word[]) =>
  variable(text => words.find(word => word === text) ?? null, `one of ${words.join(', ')}`);

const flag = () => oneOf('true', 'false', '1', '0', 'on', 'off').transform(text => text === 'true' || text === '1' || text === 'on');

/** Origins as browsers send them: scheme, host and port only. */
const origins = variable(text => {
  const listed = text
    .split(',')
    .map(origin => origin.trim())
    .filter(origin => origin !== '');
  const isValid = listed.every(origin => isUrl(origin, 'http:', 'https:') && new URL(origin).origin === origin);
  return isValid ? listed : null;
}, 'origins such as https://app.example.com, separated by commas').prefault('');

/** Plain HTTP is accepted for a loopback host only: elsewhere anybody on the network could replace the keys. */
const keySetUrl = variable(
  text => {
    const isLocal = isUrl(text, 'http:') && LOOPBACK.has(new URL(text).hostname.replace(/^\[|\]$/g, ''));
    return isLocal || isUrl(text, 'https:') ? text : null;
  },
  'an https:// URL',
  true,
);

const environment = z.object({
  HOST: variable(text => (/^[^\s/]+$/.test(text) ? text : null), 'an address or a host name').prefault('127.0.0.1'),
  PORT: integer(4000, 0, 65_535),
  DATABASE_URL: url('a postgres:// or postgresql:// URL', 'postgres:', 'postgresql:').optional(),
  DATABASE_POOL: integer(20, 2, 1_000),
  DATABASE_PREPARED: oneOf('auto', 'on', 'off').prefault('auto'),
  SESSIONGRAPH_DATA: z.string().optional(),
  XDG_DATA_HOME: z.string().optional(),
  AUTH: oneOf('auto', 'required', 'off').prefault('auto'),
  JWT_JWKS_URL: keySetUrl.optional(),
  JWT_ISSUER: z.string().optional(),
  JWT_AUDIENCE: z.string().optional(),
  JWT_SCOPES_CLAIM: z.string().default('scope'),
  JWT_AGENTS_CLAIM: z.string().optional(),
  LOG_LEVEL: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent').prefault('info'),
  STALLED_AFTER: duration('5m', LONGEST_PERIOD),
  TRASH_DAYS: integer(30, 1, 3_650),
  EVENT_RETENTION: duration('7d', LONGEST_PERIOD),
  MAX_TOKEN_LIMIT: integer(10_000_000, 1, 2_147_483_647),
  MAX_QUERY_COST: integer(20_000, 1, 1_000_000_000),
  MAX_QUERY_DEPTH: integer(20, 1, 1_000),
  // A string in V8 has at most 512 MiB.
  MAX_RESPONSE_SIZE: size('32MiB', '64KiB', '256MiB'),
  RATE_LIMIT_REQUESTS: integer(100, 0, 1_000_000_000),
  RATE_LIMIT_WRITES: integer(6_000, 0, 1_000_000_000),
  RATE_LIMIT_CREATIONS: integer(10, 0, 1_000_000_000),
  RATE_LIMIT_MANAGEMENT: integer(50, 0, 1_000_000_000),
  REDIS_URL: url('a redis:// or rediss:// URL', 'redis:', 'rediss:').optional(),
  REQUEST_TIMEOUT: duration('30s', LONGEST_TIMER),
  DRAIN_DELAY: duration('250ms', LONGEST_TIMER, '0ms'),
  DEFAULT_AGENT: name('main'),
  MAIN_KEY: name('main'),
  GRAPHIQL: flag().optional(),
  INTROSPECTION: flag().optional(),
  CORS_ORIGINS: origins,
  PERSISTED_DOCUMENTS: z.string().optional(),
  PERSISTED_ONLY: flag().prefault('false'),
});

const consistentEnvironment = environment.refine(env => env.PERSISTED_ONLY !== true || env.PERSISTED_DOCUMENTS !== undefined, {
  path: ['PERSISTED_ONLY'],
  message: 'requires PERSISTED_DOCUMENTS, the file of trusted documents',
  // Checked even if other variables are invalid, so that one error names all of them.
  when: () => true,
});

/** All settings, read once at start. */
export interface Config {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly database: {
    /** An outside Postgres. Null starts the embedded one. */
    readonly url: string | null;
    readonly poolSize: number;
    /** Whether statements of requests are named prepared statements. `auto` means `off` if the URL says `pgbouncer=true`, else `on`. */
    readonly prepared: 'auto' | 'on' | 'off';
    /** The folder of the embedded Postgres. Null means the default folder of the user. */
    readonly dataFolder: string | null;
    /** XDG_DATA_HOME, the user's folder for application data on Linux. Null means its usual place. */
    readonly userDataHome: string | null;
  };
  readonly auth: {
    /** `auto` needs no key until the first API key exists. With another host than loopback, or with an identity provider, it means `required`. */
    readonly mode: 'auto' | 'required' | 'off';
    /** The identity provider whose tokens are accepted. */
    readonly jwt: {
      readonly jwksUrl: string;
      readonly issuer: string;
      readonly audience: string;
      readonly scopesClaim: string;
      /** Null gives tokens access to all agents. */
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
  /** How many calls one key or token may make in a minute. 0 means no limit. */
  readonly rateLimits: { readonly requests: number; readonly writes: number; readonly creations: number; readonly management: number };
  /** A Redis in which all servers count rate limits together and notify each other of events. Null uses neither. */
  readonly redisUrl: string | null;
  /** How to export traces. Null turns tracing off. */
  readonly tracing: { readonly exporter: 'otlp' | 'console'; readonly protocol: 'http/protobuf' | 'http/json' } | null;
  /** After SIGTERM the server takes requests for this much longer, while it reports that it is not ready. */
  readonly drainDelayMs: number;
  readonly graphiql: boolean;
  /** Lets clients read the schema, and lets validation errors suggest field names. */
  readonly introspection: boolean;
  /** Origins of web pages that may use the server. */
  readonly corsOrigins: readonly string[];
  readonly persisted: {
    /** A JSON file of trusted documents. */
    readonly documentsFile: string | null;
    /** Rejects all other documents. */
    readonly only: boolean;
  };
}

/** The configuration is invalid. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /** All problems, each as `NAME must be …`. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(['The configuration is invalid. Correct these environment variables:', ...problems.map(problem => `  ${problem}`)].join('\n'));
    this.problems = problems;
  }
}

const JWT_NAMES = ['JWT_JWKS_URL', 'JWT_ISSUER', 'JWT_AUDIENCE'] as const;

/** Conflicts between the variables for authentication. */
function authConflicts(set: Readonly<Record<string, string | undefined>>): readonly string[] {
  const missing = JWT_NAMES.filter(name => set[name] === undefined);
  const given = JWT_NAMES.find(name => set[name] !== undefined);
  const conflicts = given === undefined ? [] : missing.map(name => `${name} must be set if ${given} is set`);
  if (set.AUTH !== 'off') return conflicts;
  if (given !== undefined) conflicts.push(`AUTH must not be off if ${given} is set`);
  if (set.HOST !== undefined && !LOOPBACK.has(set.HOST)) {
    conflicts.push(`AUTH must not be off if HOST is not a loopback address (127.0.0.1, ::1, localhost); got HOST "${set.HOST}"`);
  }
  return conflicts;
}

type Environment = z.infer<typeof environment>;

const OTLP_ENDPOINTS = ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'] as const;
const OTLP_PROTOCOLS = ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'] as const;

/**
 * Reads the variables of OpenTelemetry that turn tracing on and choose the exporter; its SDK reads the others. An endpoint or an exporter
 * turns tracing on. While it is off the other variables are not checked, because they may be set for all programs of a machine.
 */
function readTracing(set: Readonly<Record<string, string | undefined>>): {
  readonly tracing: Config['tracing'];
  readonly problems: readonly string[];
} {
  const off = { tracing: null, problems: [] };
  const endpoint = OTLP_ENDPOINTS.find(name => set[name] !== undefined);
  const exporter = set.OTEL_TRACES_EXPORTER ?? (endpoint === undefined ? 'none' : 'otlp');
  if (set.OTEL_SDK_DISABLED?.toLowerCase() === 'true' || exporter === 'none') return off;
  if (exporter === 'console') return { tracing: { exporter, protocol: 'http/protobuf' }, problems: [] };
  if (exporter !== 'otlp') return { ...off, problems: [`OTEL_TRACES_EXPORTER must be one of otlp, console, none; got "${exporter}"`] };
  const problems = OTLP_ENDPOINTS.flatMap(name => {
    const text = set[name];
    return text === undefined || isUrl(text, 'http:', 'https:') ? [] : [`${name} must be an http:// or https:// URL`];
  });
  const named = OTLP_PROTOCOLS.find(name => set[name] !== undefined);
  const protocol = named === undefined ? 'http/protobuf' : set[named];
  if (protocol === 'http/protobuf' || protocol === 'http/json') return { tracing: { exporter, protocol }, problems };
  return { ...off, problems: [...problems, `${named} must be http/protobuf or http/json; got "${protocol}"`] };
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
 * Reads the configuration from environment variables. An empty variable counts as unset.
 * @throws ConfigError that names every problem
 */
export function readConfig(variables: Readonly<Record<string, string | undefined>> = process.env): Config {
  const set = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== undefined && value.trim() !== ''));
  const parsed = consistentEnvironment.safeParse(set);
  const { tracing, problems } = readTracing(set);
  const conflicts = [...authConflicts(set), ...problems];
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
      prepared: env.DATABASE_PREPARED,
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
