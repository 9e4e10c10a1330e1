import { buildSchema } from 'graphql';
import { createYoga } from 'graphql-yoga';
import { expect, it } from 'vitest';
import { DomainError } from '../../../../src/errors.ts';
import { createLog } from '../../../../src/log.ts';
import { LOCAL_VIEWER, type Viewer } from '../../../../src/modules/viewer/viewer.rules.ts';
import { DENIED_ACCESS } from '../../../../src/server/auth/authenticate.ts';
import { createErrorModel } from '../../../../src/server/graphql/error-model.ts';
import { limitOf } from '../../../../src/server/graphql/limits/limit-names.ts';
import { useErrorModel } from '../../../../src/server/graphql/plugins/use-error-model.ts';
import type { TransportContext } from '../../../../src/server/graphql/plugins/use-execution.ts';
import { useStreamLimit } from '../../../../src/server/graphql/plugins/use-stream-limit.ts';

const KEY: Viewer = { id: 'key:1', name: 'one', scopes: ['READ'], agentIds: null };
const OTHER: Viewer = { ...KEY, id: 'key:2' };

const schema = buildSchema('type Query { a: Int } type Subscription { forever: Int once: Int refused: Int breaks: Int }');
const SOURCES: Readonly<Record<string, () => AsyncGenerator>> = {
  async *forever() {
    yield { forever: 1 };
    await new Promise(() => undefined);
  },
  async *once() {
    yield { once: 1 };
  },
  async *breaks() {
    yield { breaks: 1 };
    throw new Error('broken');
  },
  refused: () => {
    throw new Error('refused');
  },
};
for (const [name, subscribe] of Object.entries(SOURCES))
  Object.assign(schema.getSubscriptionType()?.getFields()[name] ?? {}, { subscribe });

const yoga = createYoga<TransportContext>({
  schema,
  logging: false,
  maskedErrors: false,
  plugins: [useErrorModel(createErrorModel(createLog('silent'))), useStreamLimit({ maxStreams: 2 })],
});

/** Subscribes and reads the response up to the first event. */
async function subscribe(field: string, viewer: Viewer) {
  const { signal } = new AbortController();
  const context: TransportContext = { origin: { requestId: 'r', signal, access: { ...DENIED_ACCESS, viewer } } };
  const query = encodeURIComponent(`subscription { ${field} }`);
  const response = await yoga.fetch(`http://localhost/graphql?query=${query}`, { headers: { accept: 'text/event-stream' } }, context);
  const reader = response.body?.getReader();
  if (reader === undefined) throw new Error('The response has no body.');
  let first = '';
  while (!/data: ?\{/.test(first)) {
    const { done, value } = await reader.read();
    if (done) break;
    first += typeof value === 'string' ? value : Buffer.from(value).toString();
  }
  return { first, reader };
}

const LIMIT_ERROR = '"code":"RATE_LIMIT_EXCEEDED"';
const EVENT = '"forever":1';

it('refuses a caller more open streams than the limit, and does not affect other callers', async () => {
  const streams = [await subscribe('forever', KEY), await subscribe('forever', KEY)];
  for (const { first } of streams) expect(first).toContain(EVENT);
  expect((await subscribe('forever', KEY)).first).toContain(LIMIT_ERROR);
  expect((await subscribe('forever', OTHER)).first).toContain(EVENT);
});

it('does not count streams that have ended, failed or never started', async () => {
  const viewer = { ...KEY, id: 'key:3' };
  for (const field of ['once', 'breaks', 'refused', 'once']) {
    for (let i = 0; i < 3; i += 1) {
      const { first, reader } = await subscribe(field, viewer);
      expect({ field, i, first }).not.toMatchObject({ first: expect.stringContaining(LIMIT_ERROR) });
      while (!(await reader.read().catch(() => ({ done: true }))).done);
    }
  }
  expect((await subscribe('forever', viewer)).first).toContain(EVENT);
});

it('sets no limit while authentication is off', async () => {
  for (let i = 0; i < 4; i += 1) expect((await subscribe('forever', LOCAL_VIEWER)).first).toContain(EVENT);
});

it('has its own name in the metrics, different from the rate limit', () => {
  expect(limitOf(new DomainError('RATE_LIMIT_EXCEEDED', 'Too many.', { limit: 'streams' }))).toBe('streams');
  expect(limitOf(new DomainError('RATE_LIMIT_EXCEEDED', 'Too many.', { limit: 'requests' }))).toBe('rate');
});
