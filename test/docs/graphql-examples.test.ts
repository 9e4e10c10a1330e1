import { readFile } from 'node:fs/promises';
import { buildSchema, type GraphQLSchema, getOperationAST, parse, validate } from 'graphql';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSessions } from '../../scripts/seed/seed-writer.ts';
import { generateSessions } from '../../scripts/seed/session-generator.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { post } from '../support/http-client.ts';
import { differences } from './example-match.ts';
import { type CodeBlock, type Page, ROOT, readPages } from './markdown.ts';

const KEYS = { defaultAgent: 'main', mainKey: 'main' };
const HOUR_MS = 3_600_000;

let schema: GraphQLSchema;
let app: TestApp;
/** An example creates an API key, and from then on every request needs one. */
let authorization: string;
beforeAll(async () => {
  schema = buildSchema(await readFile(`${ROOT}schema.graphql`, 'utf8'));
});

/** A GraphQL block with the JSON blocks behind it: the response, then the events of the page's subscription. */
interface Example {
  readonly block: CodeBlock;
  readonly expected: readonly CodeBlock[];
}

function examplesOf({ blocks }: Page): readonly Example[] {
  const examples: { block: CodeBlock; expected: CodeBlock[] }[] = [];
  for (const block of blocks) {
    if (block.language === 'graphql') examples.push({ block, expected: [] });
    else if (block.language === 'json') examples.at(-1)?.expected.push(block);
  }
  return examples;
}

/** The parts of a response that the examples show. */
interface Shown {
  readonly data?: unknown;
  readonly errors?: readonly unknown[];
}

function expectMatch(actual: Shown, { text, place }: CodeBlock): void {
  expect(differences(actual, JSON.parse(text)), place).toEqual([]);
}

/** What the response shows in an example: without the cost, and without the place of an error in the document. */
async function run(query: string): Promise<Shown> {
  const { body } = await post(app.url, { query }, { authorization });
  if (body.errors === undefined) return { data: body.data };
  return { errors: body.errors.map(({ message, path, extensions }) => ({ message, path, extensions })) };
}

/** Fills the database as `npm run seed` does. */
async function seed(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const until = new Date(Math.floor(Date.now() / HOUR_MS) * HOUR_MS);
  await writeSessions(client, generateSessions({ sessions: 1_000, messages: 50, seed: 1, until, keys: KEYS }), KEYS);
  await client.end();
}

const pages = (await readPages()).map(page => ({ page, examples: examplesOf(page) })).filter(({ examples }) => examples.length > 0);

describe('the GraphQL examples', () => {
  beforeAll(async () => {
    app = await startTestApp();
    const CREATE_KEY = 'mutation { createApiKey(input: { name: "examples", scopes: [ADMIN] }) { secret } }';
    const { createApiKey } = (await app.gql<{ createApiKey: { secret: string } }>(CREATE_KEY)).expectOk();
    authorization = `Bearer ${createApiKey.secret}`;
    await seed(app.databaseUrl);
  });

  describe.each(pages.map(({ page, examples }) => [page.path, examples] as const))('in %s', (_path, examples) => {
    let subscription: Awaited<ReturnType<TestApp['subscribe']>> | undefined;
    afterAll(() => subscription?.close());

    it.each(examples.map(example => [example.block.place, example] as const))('%s works', async (_place, { block, expected }) => {
      const [response, ...events] = expected;
      const document = parse(block.text);
      expect(validate(schema, document).map(({ message }) => message)).toEqual([]);
      if (getOperationAST(document)?.operation === 'subscription') {
        await subscription?.close();
        subscription = await app.subscribe(block.text, {}, { authorization });
        return;
      }
      const actual = await run(block.text);
      if (response === undefined) expect(actual.errors).toBeUndefined();
      else expectMatch(actual, response);
      for (const event of events) expectMatch({ data: await subscription?.next() }, event);
    });
  });

  it('in README.md start with a query that has the same response after the tour', async () => {
    const [first] = pages.find(({ page }) => page.path === 'README.md')?.examples ?? [];
    const [response] = first?.expected ?? [];
    if (first === undefined || response === undefined) throw new Error('README.md has no first example.');
    expectMatch(await run(first.block.text), response);
  });
});
