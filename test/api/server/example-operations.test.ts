import { readFile } from 'node:fs/promises';
import { buildSchema, parse, validate } from 'graphql';
import { beforeAll, describe, expect, it } from 'vitest';
import { EXAMPLE_OPERATIONS } from '../../../src/server/http/pages/graphiql.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});

describe('the example operations of GraphiQL', () => {
  it.each(EXAMPLE_OPERATIONS.map(({ query }) => query))('are valid against schema.graphql: %.60s', async query => {
    const schema = buildSchema(await readFile(new URL('../../../schema.graphql', import.meta.url), 'utf8'));
    expect(validate(schema, parse(query)).map(({ message }) => message)).toEqual([]);
  });

  it('run on a server, and the subscription receives the events of the mutations', async () => {
    const [list, page, search, create, append, subscribe] = EXAMPLE_OPERATIONS.map(({ query, variables = '{}' }) => ({
      query,
      variables: JSON.parse(variables) as Record<string, unknown>,
    }));
    if (!(list && page && search && create && append && subscribe)) throw new Error('Expected six operations.');
    const events = await app.subscribe(subscribe.query);
    const created = (await app.gql<{ createSession: { session: { sessionId: string } } }>(create.query, create.variables)).expectOk();
    const { sessionId } = created.createSession.session;
    expect(await events.next()).toMatchObject({ sessionEvents: { __typename: 'SessionCreatedEvent', sessionId } });
    const input = { ...(append.variables.input as Record<string, unknown>), sessionId };
    (await app.gql(append.query, { input })).expectOk();
    expect(await events.next()).toMatchObject({ sessionEvents: { message: { content: 'Hello from GraphiQL' } } });
    expect((await app.gql(list.query)).expectOk()).toMatchObject({ sessions: { nodes: [{ sessionId, messageCount: 1 }], totalCount: 1 } });
    expect((await app.gql(page.query, page.variables)).expectOk()).toMatchObject({ sessions: { edges: [{ node: { sessionId } }] } });
    const found = (await app.gql(search.query, { text: 'hello' })).expectOk();
    expect(found).toMatchObject({ searchMessages: { edges: [{ node: { session: { sessionId } } }] } });
    await events.close();
  });
});
