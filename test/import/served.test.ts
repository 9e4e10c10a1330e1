import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { at, header, importOpenClaw, message, START, transcript, uuid } from './openclaw-folder.ts';

let app: TestApp;
let folder: string;

const id = uuid(1);

beforeAll(async () => {
  app = await startTestApp();
  folder = await mkdtemp(join(tmpdir(), 'sessiongraph-import-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function runImport() {
  return importOpenClaw(app.databaseUrl, folder);
}

describe('imported sessions', () => {
  it('can be read, searched, subscribed to and appended to through the API', async () => {
    const entry = {
      sessionId: id,
      updatedAt: START + 9_000,
      thinkingLevel: 'med',
      origin: { provider: 'telegram', threadId: 5 },
      custom: 1,
    };
    const assistantMessage = {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'hm' },
        { type: 'toolCall', id: 'c1', name: 'exec', arguments: { command: 'ls' } },
        { type: 'odd', value: 1 },
      ],
      model: 'claude-x',
      usage: { input: 10, output: 5, cost: { total: 0.25 } },
    };
    await writeFile(join(folder, 'sessions.json'), JSON.stringify({ 'agent:main:main': entry }));
    await writeFile(
      join(folder, `${id}.jsonl`),
      transcript(
        header(id),
        message('a1', null, 'Where is the zebra kept?'),
        { type: 'message', id: 'a2', parentId: 'a1', timestamp: at(2), message: assistantMessage },
        message('b2', 'a1', 'Never mind'),
      ),
    );
    const events = await app.subscribe<{ sessionEvents: { __typename: string; sessionId: string; message?: { content: string } } }>(
      `subscription { sessionEvents { __typename sessionId ... on MessageAddedEvent { message { content } } } }`,
    );
    expect((await runImport()).failures).toEqual([]);
    expect(await events.next()).toEqual({ sessionEvents: { __typename: 'SessionCreatedEvent', sessionId: id } });

    const sessionQuery = `query ($id: ID!) {
      session(id: $id) {
        title kind status key externalId messageCount model
        settings { thinkingLevel extra } origin { provider threadId } usage { totalTokens costUsd }
        messages(branch: ALL) { nodes {
          externalId content active parent { position } createdAt
          parts { type ... on ThinkingPart { text } ... on ToolCallPart { name arguments } ... on OtherPart { data } }
        } }
      }
      searchMessages(query: "zebra") { nodes { content session { sessionId } } }
    }`;
    expect((await app.gql(sessionQuery, { id })).expectOk()).toEqual({
      session: {
        title: 'Where is the zebra kept?',
        kind: 'MAIN',
        status: 'ACTIVE',
        key: 'agent:main:main',
        externalId: null,
        messageCount: 3,
        model: 'claude-x',
        settings: { thinkingLevel: 'medium', extra: { custom: 1 } },
        origin: { provider: 'telegram', threadId: '5' },
        usage: { totalTokens: 15, costUsd: 0.25 },
        messages: {
          nodes: [
            {
              externalId: 'a1',
              content: 'Where is the zebra kept?',
              active: true,
              parent: null,
              createdAt: at(1),
              parts: [{ type: 'text' }],
            },
            {
              externalId: 'a2',
              content: '',
              active: false,
              parent: { position: 1 },
              createdAt: at(2),
              parts: [
                { type: 'thinking', text: 'hm' },
                { type: 'toolCall', name: 'exec', arguments: { command: 'ls' } },
                { type: 'odd', data: { type: 'odd', value: 1 } },
              ],
            },
            { externalId: 'b2', content: 'Never mind', active: true, parent: { position: 1 }, createdAt: at(2), parts: [{ type: 'text' }] },
          ],
        },
      },
      searchMessages: { nodes: [{ content: 'Where is the zebra kept?', session: { sessionId: id } }] },
    });

    const append = `mutation ($id: ID!) { appendMessage(input: { sessionId: $id, message: { role: USER, content: "from the API" } }) { message { position } } }`;
    (await app.gql(append, { id })).expectOk();
    await appendFile(join(folder, `${id}.jsonl`), transcript(message('b3', 'b2', 'from the source')));
    expect((await runImport()).written.messages).toBe(1);
    expect(await events.next()).toMatchObject({ sessionEvents: { message: { content: 'from the API' } } });
    expect(await events.next()).toMatchObject({ sessionEvents: { message: { content: 'from the source' } } });
    const response = await app.gql<{ session: { messages: { nodes: { content: string }[] } } }>(
      `query ($id: ID!) { session(id: $id) { messages { nodes { content } } } }`,
      { id },
    );
    expect(response.expectOk().session.messages.nodes.map(node => node.content)).toEqual([
      'Where is the zebra kept?',
      'Never mind',
      'from the source',
    ]);
  });

  it('reach subscribers of sessionList and sessionEvents when a later import changes only counters, times, the branch or raw lines', async () => {
    const other = uuid(2);
    const path = await mkdtemp(join(tmpdir(), 'sessiongraph-import-'));
    const entry = { sessionId: other, updatedAt: START, inputTokens: 1, outputTokens: 2 };
    const writeStore = (changes: object) =>
      writeFile(join(path, 'sessions.json'), JSON.stringify({ 'agent:main:counted': { ...entry, ...changes } }));
    const append = (line: object) => appendFile(join(path, `${other}.jsonl`), transcript(line));
    const importAgain = async () => expect((await importOpenClaw(app.databaseUrl, path)).written.sessionsUpdated).toBe(1);
    await writeStore({});
    await writeFile(join(path, `${other}.jsonl`), transcript(header(other), message('a1', null, 'one'), message('a2', 'a1', 'two')));
    expect((await importOpenClaw(app.databaseUrl, path)).failures).toEqual([]);

    interface Row {
      readonly usage: { readonly totalTokens: number };
      readonly lastActivityAt: string;
      readonly lastMessageAt: string;
      readonly updatedAt: string;
      readonly version: number;
    }
    const list = await app.subscribe<{ sessionList: { snapshot: Row[] | null; changes: { type: string; node: Row }[] | null } }>(
      `subscription ($id: ID!) { sessionList(filter: { id: { eq: $id } }) { snapshot { ...Row } changes { type node { ...Row } } } }
       fragment Row on Session { usage { totalTokens } lastActivityAt lastMessageAt updatedAt version }`,
      { id: other },
    );
    const events = await app.subscribe<{ sessionEvents: { changed: string[] } }>(
      `subscription ($id: ID!) { sessionEvents(filter: { sessionIds: [$id] }) { ... on SessionUpdatedEvent { changed } } }`,
      { id: other },
    );
    const nextRow = async () => (await list.next()).sessionList.changes?.[0]?.node;
    expect((await list.next()).sessionList.snapshot).toMatchObject([{ usage: { totalTokens: 3 }, lastMessageAt: at(2), version: 1 }]);

    await writeStore({ outputTokens: 9 });
    await importAgain();
    expect(await nextRow()).toMatchObject({ usage: { totalTokens: 10 } });
    expect(await events.next()).toEqual({ sessionEvents: { changed: expect.arrayContaining(['usage']) } });

    await append({ type: 'custom', id: 'a3', parentId: 'a2', timestamp: at(90) });
    await importAgain();
    expect(await nextRow()).toMatchObject({ lastActivityAt: at(90), lastMessageAt: at(2), version: 2 });
    expect(await events.next()).toEqual({ sessionEvents: { changed: ['lastActivityAt'] } });

    await append({ type: 'label', id: 'a4', parentId: 'a1', timestamp: at(91), targetId: 'a1', label: 'here' });
    await importAgain();
    expect(await nextRow()).toMatchObject({ lastActivityAt: at(91), lastMessageAt: at(1) });
    expect(await events.next()).toEqual({ sessionEvents: { changed: ['lastActivityAt', 'lastMessageAt', 'messages'] } });

    const { updatedAt } = (await app.gql<{ session: Row }>('query ($id: ID!) { session(id: $id) { updatedAt } }', { id: other })).expectOk()
      .session;
    await append({ type: 'custom', id: 'a5', parentId: 'a4', timestamp: at(5) });
    await importAgain();
    expect(Date.parse((await nextRow())?.updatedAt ?? '')).toBeGreaterThan(Date.parse(updatedAt));
    expect(await events.next()).toEqual({ sessionEvents: { changed: ['updatedAt'] } });
    for (const stream of [list, events]) await stream.close();
    await rm(path, { recursive: true, force: true });
  });
});
