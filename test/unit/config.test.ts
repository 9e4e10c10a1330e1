import { describe, expect, it } from 'vitest';
import { ConfigError, parseDuration, readConfig } from '../../src/config.ts';

describe('parseDuration', () => {
  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['7d', 604_800_000],
    ['0s', 0],
  ])('parses %j as %d ms', (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  it.each(['', '5', 'm', '5 m', '-5m', '1.5h', '5M', '5min', '1h30m'])('returns null for %j', text => {
    expect(parseDuration(text)).toBeNull();
  });
});

describe('readConfig', () => {
  const defaults = {
    host: '127.0.0.1',
    port: 4000,
    database: { url: null, poolSize: 20, prepared: 'auto', dataFolder: null, userDataHome: null },
    auth: { mode: 'auto', jwt: null },
    logLevel: 'info',
    sessions: { stalledAfterMs: 300_000, trashDays: 30, maxTokenLimit: 10_000_000, defaultAgent: 'main', mainKey: 'main' },
    events: { retentionMs: 604_800_000 },
    limits: { maxQueryCost: 20_000, maxQueryDepth: 20, requestTimeoutMs: 30_000, maxResponseBytes: 32 * 1024 * 1024 },
    drainDelayMs: 250,
    graphiql: true,
    introspection: true,
    rateLimits: { requests: 100, writes: 6_000, creations: 10, management: 50 },
    redisUrl: null,
    corsOrigins: [],
    persisted: { documentsFile: null, only: false },
    tracing: null,
  };

  it('returns the defaults for an empty environment', () => {
    expect(readConfig({})).toEqual(defaults);
  });

  it('treats empty and blank variables as unset', () => {
    expect(readConfig({ PORT: '', HOST: ' ', DATABASE_URL: '', STALLED_AFTER: '', GRAPHIQL: '\t' })).toEqual(defaults);
  });

  it('reads every known variable and ignores others', () => {
    const variables = {
      HOST: '::1',
      PORT: '0',
      DATABASE_URL: 'postgresql://u:p@db:5433/x?schema=y',
      DATABASE_POOL: '2',
      DATABASE_PREPARED: 'off',
      SESSIONGRAPH_DATA: '/a folder',
      XDG_DATA_HOME: '/home/of/data',
      AUTH: 'required',
      JWT_JWKS_URL: 'https://login.example.com/keys',
      JWT_ISSUER: 'https://login.example.com',
      JWT_AUDIENCE: 'sessiongraph',
      JWT_SCOPES_CLAIM: 'permissions',
      JWT_AGENTS_CLAIM: 'agents',
      LOG_LEVEL: 'silent',
      STALLED_AFTER: '90s',
      TRASH_DAYS: '1',
      EVENT_RETENTION: '36h',
      MAX_TOKEN_LIMIT: '5',
      MAX_QUERY_COST: '1',
      MAX_QUERY_DEPTH: '1',
      MAX_RESPONSE_SIZE: '64KiB',
      REQUEST_TIMEOUT: '500ms',
      DRAIN_DELAY: '0s',
      DEFAULT_AGENT: 'Aria',
      MAIN_KEY: 'Home',
      GRAPHIQL: 'off',
      INTROSPECTION: '0',
      RATE_LIMIT_REQUESTS: '0',
      RATE_LIMIT_WRITES: '1',
      RATE_LIMIT_CREATIONS: '2',
      RATE_LIMIT_MANAGEMENT: '3',
      REDIS_URL: 'redis://cache:6379',
      CORS_ORIGINS: 'https://app.example.com, http://localhost:5173',
      PERSISTED_DOCUMENTS: '/documents.json',
      PERSISTED_ONLY: 'on',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      UNKNOWN: 'x',
    };
    expect(readConfig(variables)).toEqual({
      host: '::1',
      port: 0,
      auth: {
        mode: 'required',
        jwt: {
          jwksUrl: 'https://login.example.com/keys',
          issuer: 'https://login.example.com',
          audience: 'sessiongraph',
          scopesClaim: 'permissions',
          agentsClaim: 'agents',
        },
      },
      logLevel: 'silent',
      drainDelayMs: 0,
      graphiql: false,
      introspection: false,
      rateLimits: { requests: 0, writes: 1, creations: 2, management: 3 },
      redisUrl: 'redis://cache:6379',
      corsOrigins: ['https://app.example.com', 'http://localhost:5173'],
      persisted: { documentsFile: '/documents.json', only: true },
      tracing: { exporter: 'otlp', protocol: 'http/json' },
      events: { retentionMs: 129_600_000 },
      database: {
        url: 'postgresql://u:p@db:5433/x?schema=y',
        poolSize: 2,
        prepared: 'off',
        dataFolder: '/a folder',
        userDataHome: '/home/of/data',
      },
      sessions: { stalledAfterMs: 90_000, trashDays: 1, maxTokenLimit: 5, defaultAgent: 'aria', mainKey: 'home' },
      limits: { maxQueryCost: 1, maxQueryDepth: 1, requestTimeoutMs: 500, maxResponseBytes: 64 * 1024 },
    });
  });

  it('reports every invalid variable in one error, each with its name, value and the reason', () => {
    const variables = {
      HOST: 'a b',
      PORT: '65536',
      DATABASE_URL: 'mysql://x',
      DATABASE_POOL: '1',
      LOG_LEVEL: 'loud',
      STALLED_AFTER: 'soon',
      TRASH_DAYS: '0',
      EVENT_RETENTION: '0s',
      MAX_TOKEN_LIMIT: '1e9',
      DEFAULT_AGENT: 'a b',
      MAIN_KEY: ':',
      GRAPHIQL: 'yes',
      INTROSPECTION: 'yes',
      RATE_LIMIT_WRITES: '-1',
      REDIS_URL: 'http://cache',
      CORS_ORIGINS: 'https://app.example.com/path',
      PERSISTED_ONLY: 'true',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
    };
    let error: unknown;
    try {
      readConfig(variables);
    } catch (thrown) {
      error = thrown;
    }
    if (!(error instanceof ConfigError)) throw new Error('readConfig accepted invalid variables.');
    expect(error.problems.map(line => line.split(' ')[0]).sort()).toEqual(Object.keys(variables).sort());
    for (const line of error.problems) expect(error.message).toContain(`\n  ${line}`);
    expect(error.problems).toHaveLength(19);
    expect(error.problems).toContain('PORT must be a whole number from 0 to 65535; got "65536"');
    expect(error.problems).toContain('STALLED_AFTER must be a duration such as 30s, 5m or 7d, from 1ms to 36500d; got "soon"');
  });

  it.each(['REQUEST_TIMEOUT', 'DRAIN_DELAY'])('rejects %s beyond 24.8 days, the longest time that a timer of Node can wait', name => {
    for (const value of ['597h', '25d', '2147483648ms', '36500d']) {
      expect(() => readConfig({ [name]: value })).toThrow(new RegExp(`${name} must be a duration .* to 596h; got "${value}"`));
    }
    expect(() => readConfig({ [name]: '596h' })).not.toThrow();
  });

  it.each(['STALLED_AFTER', 'EVENT_RETENTION'])('accepts %s up to a century, because no timer waits for it', name => {
    expect(() => readConfig({ [name]: '36500d' })).not.toThrow();
    for (const value of ['36501d', '99999999999999999d']) expect(() => readConfig({ [name]: value })).toThrow(`${name} must be a duration`);
  });

  it('does not print URLs, which may contain a password', () => {
    const read = () => readConfig({ DATABASE_URL: 'mysql://u:secret@db/x', REDIS_URL: 'http://:secret@cache' });
    expect(read).toThrow('DATABASE_URL must be a postgres:// or postgresql:// URL');
    expect(read).not.toThrow('secret');
  });

  const OTLP = { exporter: 'otlp', protocol: 'http/protobuf' };
  it.each<[Record<string, string>, object | null]>([
    [{ OTEL_SERVICE_NAME: 'x', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc', OTEL_TRACES_SAMPLER: 'always_on' }, null],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318' }, OTLP],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://c/v1/traces' }, OTLP],
    [{ OTEL_TRACES_EXPORTER: 'otlp' }, OTLP],
    [{ OTEL_TRACES_EXPORTER: 'console' }, { exporter: 'console', protocol: 'http/protobuf' }],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_TRACES_EXPORTER: 'none' }, null],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_SDK_DISABLED: 'TRUE' }, null],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_SDK_DISABLED: 'false' }, OTLP],
    [
      { OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc', OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json' },
      { exporter: 'otlp', protocol: 'http/json' },
    ],
  ])('with %j sets tracing to %j', (variables, tracing) => {
    expect(readConfig(variables).tracing).toEqual(tracing);
  });

  it('rejects an unknown trace exporter', () => {
    expect(() => readConfig({ OTEL_TRACES_EXPORTER: 'zipkin' })).toThrow(
      'OTEL_TRACES_EXPORTER must be one of otlp, console, none; got "zipkin"',
    );
  });

  it.each(['-1', '1.5', 'x', '0x10', '+1', '1 '])('rejects %j as a port', PORT => {
    expect(() => readConfig({ PORT })).toThrow(ConfigError);
  });
});
