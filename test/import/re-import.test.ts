import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  header,
  type ImportFixture,
  message,
  openImportFixture,
  readEventTypes,
  readMessages,
  readSession,
  START,
  transcript,
  uuid,
} from './openclaw-folder.ts';

let fixture: ImportFixture;
let agentCount = 0;

beforeAll(async () => {
  fixture = await openImportFixture();
});
afterAll(() => fixture.close());

type Store = Readonly<Record<string, object>>;

/** Imports the folder of a new agent. Returns functions to change the store and the transcripts. */
async function importAgentFolder(store: Store, transcripts: Readonly<Record<string, string>> = {}) {
  const agent = `agent-${++agentCount}`;
  const sessions = `agents/${agent}/sessions`;
  const files = Object.fromEntries(Object.entries(transcripts).map(([name, content]) => [`${sessions}/${name}`, content]));
  const folder = await fixture.createFolder(files);
  const writeStore = (changed: Store) => {
    const keyed = Object.fromEntries(Object.entries(changed).map(([key, entry]) => [`agent:${agent}:${key}`, entry]));
    return fixture.write(folder, { [`${sessions}/sessions.json`]: keyed });
  };
  await writeStore(store);
  const report = await fixture.import(folder);
  expect(report.failures).toEqual([]);
  return { agent, folder, writeStore, path: (name: string) => join(folder, sessions, name) };
}

describe('a repeated import', () => {
  it('changes only the fields that changed at the source, and writes events and one new version', async () => {
    const id = uuid(1);
    const { folder, writeStore } = await importAgentFolder({
      main: { sessionId: id, updatedAt: START, subject: 'old', category: 'kept', thinkingLevel: 'low' },
    });
    await writeStore({
      main: { sessionId: id, updatedAt: START + 5, subject: 'new', category: 'kept', status: 'done', custom: { deep: [1] } },
    });
    const report = await fixture.import(folder);
    expect(report.written.sessionsUpdated).toBe(1);
    expect(await readSession(fixture, id)).toMatchObject({
      subject: 'new',
      title: 'new',
      category: 'kept',
      status: 'COMPLETED',
      settings: {},
      settings_extra: { custom: { deep: [1] } },
      version: 2,
    });
    expect(await readEventTypes(fixture, id)).toEqual(['CREATED', 'UPDATED', 'STATUS_CHANGED']);
    const [updated] = await fixture.rows<{ payload: { changed: string[] } }>(
      `select payload from aria_engine.session_events where session_id = $1 and type = 'UPDATED'`,
      [id],
    );
    expect(updated?.payload.changed.sort()).toEqual(['lastActivityAt', 'metadata', 'settings', 'subject', 'title']);
    await fixture.import(folder);
    expect(await readSession(fixture, id)).toMatchObject({ version: 2 });
  });

  it('keeps edits made in Sessiongraph and reports them', async () => {
    const id = uuid(2);
    const entry = {
      sessionId: id,
      updatedAt: START,
      subject: 'theirs',
      displayName: 'Theirs',
      model: 'm1',
      thinkingLevel: 'low',
      custom: 1,
    };
    const { folder, writeStore } = await importAgentFolder({ main: entry });
    await fixture.rows(
      `update aria_engine.chat_sessions set subject = 'mine', display_name = null, status = 'COMPLETED', ended_at = now(),
         settings = '{"thinkingLevel":"high"}', settings_extra = '{"custom":2}', metadata = '{"mine":true}' where id = $1`,
      [id],
    );
    expect((await fixture.import(folder)).sessionsUnchanged).toBe(1);
    await writeStore({
      main: {
        ...entry,
        updatedAt: START + 1,
        subject: 'theirs again',
        displayName: 'Theirs too',
        model: 'm2',
        thinkingLevel: 'off',
        custom: 3,
        status: 'running',
      },
    });
    const report = await fixture.import(folder);
    expect(
      report.problems
        .find(problem => problem.reason === 'edited in Sessiongraph, kept')
        ?.detail?.split(', ')
        .sort(),
    ).toEqual(['displayName', 'extra.custom', 'settings.thinkingLevel', 'status', 'subject']);
    const after = {
      subject: 'mine',
      display_name: null,
      model: 'm2',
      status: 'COMPLETED',
      settings: { thinkingLevel: 'high' },
      settings_extra: { custom: 2 },
    };
    expect(await readSession(fixture, id)).toMatchObject({ ...after, metadata: { mine: true, originalStatus: 'running' } });
    await fixture.import(folder);
    expect(await readSession(fixture, id)).toMatchObject(after);
  });

  it('does not treat a change to STALLED as an edit', async () => {
    const id = uuid(3);
    const { folder, writeStore } = await importAgentFolder({ main: { sessionId: id, updatedAt: Date.now(), status: 'running' } });
    expect(await readSession(fixture, id)).toMatchObject({ status: 'WORKING' });
    await fixture.rows(`update aria_engine.chat_sessions set status = 'STALLED', status_reason = 'silent' where id = $1`, [id]);
    await writeStore({ main: { sessionId: id, updatedAt: Date.now(), status: 'done' } });
    await fixture.import(folder);
    expect(await readSession(fixture, id)).toMatchObject({ status: 'COMPLETED', status_reason: null });
  });

  it('does not restore deleted messages, or sessions that are in the trash or permanently deleted', async () => {
    const [kept, trashed, removed] = [uuid(10), uuid(11), uuid(12)];
    const lines = (id: string) =>
      transcript(header(id), message('a1', null, 'one'), message('a2', 'a1', 'two'), message('a3', 'a2', 'three'));
    const { folder, path } = await importAgentFolder(
      {},
      { [`${kept}.jsonl`]: lines(kept), [`${trashed}.jsonl`]: lines(trashed), [`${removed}.jsonl`]: lines(removed) },
    );
    await fixture.rows('update aria_engine.chat_sessions set deleted_at = now() where id = $1', [trashed]);
    await fixture.rows(
      'with deleted as (delete from aria_engine.chat_sessions where id = $1 returning id, agent_id) insert into aria_engine.session_tombstones (session_id, agent_id) select * from deleted',
      [removed],
    );
    await fixture.rows('delete from aria_engine.chat_messages where session_id = $1 and position = 3', [kept]);
    await fixture.rows('update aria_engine.chat_session_activity set message_count = 2, leaf_position = 2 where session_id = $1', [kept]);
    for (const id of [kept, trashed, removed]) await appendFile(path(`${id}.jsonl`), transcript(message('a4', 'a3', 'four')));
    const report = await fixture.import(folder);
    expect(report.skipped).toEqual({ 'in the trash of Sessiongraph': 1, 'permanently deleted in Sessiongraph': 1 });
    expect((await readMessages(fixture, kept)).map(row => [row.position, row.content, row.parent])).toEqual([
      [1, 'one', null],
      [2, 'two', 1],
      [4, 'four', 2],
    ]);
    expect(await readSession(fixture, kept)).toMatchObject({ message_count: 3, leaf_position: 4 });
    expect(await readMessages(fixture, trashed)).toHaveLength(3);
    expect(await fixture.rows('select from aria_engine.chat_sessions where id = $1', [removed])).toEqual([]);
  });

  it('sets a missing derived title from a new message without an event or a new version', async () => {
    const id = uuid(95);
    const greeting = transcript(header(id), message('a1', null, 'Hello', { role: 'assistant' }));
    const { folder, path } = await importAgentFolder({ main: { sessionId: id, updatedAt: START } }, { [`${id}.jsonl`]: greeting });
    expect(await readSession(fixture, id)).toMatchObject({ derived_title: null });
    await appendFile(path(`${id}.jsonl`), transcript(message('a2', 'a1', 'What is a zebra?')));
    await fixture.import(folder);
    expect(await readSession(fixture, id)).toMatchObject({ title: 'What is a zebra?', version: 1 });
    expect(await readEventTypes(fixture, id)).toEqual(['CREATED', 'MESSAGE_ADDED']);
  });

  it('adds imported usage to usage reported through the API', async () => {
    const id = uuid(15);
    const assistantMessage = (entry: string, parent: string | null, input: number) =>
      message(entry, parent, 'x', { role: 'assistant', usage: { input, output: 1 } });
    const { folder, path } = await importAgentFolder(
      { main: { sessionId: id, updatedAt: START, inputTokens: 500 } },
      { [`${id}.jsonl`]: transcript(header(id)) },
    );
    expect(await readSession(fixture, id)).toMatchObject({ input_tokens: 500, total_tokens: 500 });
    await fixture.rows(
      'update aria_engine.chat_session_activity set input_tokens = input_tokens + 7, total_tokens = total_tokens + 7 where session_id = $1',
      [id],
    );
    await appendFile(path(`${id}.jsonl`), transcript(assistantMessage('a1', null, 100)));
    await fixture.import(folder);
    expect(await readSession(fixture, id)).toMatchObject({ input_tokens: 107, output_tokens: 1, total_tokens: 108 });
    await appendFile(path(`${id}.jsonl`), transcript(assistantMessage('a2', 'a1', 10)));
    await fixture.import(folder);
    expect(await readSession(fixture, id)).toMatchObject({ input_tokens: 117, output_tokens: 2, total_tokens: 119 });
  });

  it('ends and supersedes a session that lost its key, and reopens it when it gets the key back', async () => {
    const [first, second] = [uuid(20), uuid(21)];
    const { folder, agent, writeStore } = await importAgentFolder({ main: { sessionId: first, updatedAt: START, label: 'mine' } });
    await writeStore({ main: { sessionId: second, updatedAt: START + 1, label: 'mine' } });
    await fixture.import(folder);
    const key = `agent:${agent}:main`;
    expect(await readSession(fixture, first)).toMatchObject({
      key,
      label: 'mine',
      status: 'ENDED',
      status_reason: 'reset',
      listed: false,
      superseded_at: expect.any(Date),
    });
    expect(await readSession(fixture, second)).toMatchObject({ key, label: 'mine', status: 'ACTIVE', listed: true });
    expect(await readEventTypes(fixture, first)).toEqual(['CREATED', 'STATUS_CHANGED']);
    expect((await fixture.import(folder)).sessionsUnchanged).toBe(1);
    await writeStore({ main: { sessionId: first, updatedAt: START + 2 } });
    await fixture.import(folder);
    expect(await readSession(fixture, first)).toMatchObject({ key, status: 'ACTIVE', listed: true, superseded_at: null });
    expect(await readSession(fixture, second)).toMatchObject({ key, status: 'ENDED', listed: false });
  });

  it('can exchange the keys of two sessions', async () => {
    const [one, two] = [uuid(25), uuid(26)];
    const { folder, agent, writeStore } = await importAgentFolder({
      a: { sessionId: one, updatedAt: START },
      b: { sessionId: two, updatedAt: START },
    });
    await writeStore({ a: { sessionId: two, updatedAt: START }, b: { sessionId: one, updatedAt: START } });
    expect((await fixture.import(folder)).failures).toEqual([]);
    expect(await readSession(fixture, one)).toMatchObject({ key: `agent:${agent}:b`, superseded_at: null });
    expect(await readSession(fixture, two)).toMatchObject({ key: `agent:${agent}:a`, superseded_at: null });
  });

  it('links a session to a parent that appeared later', async () => {
    const [child, parent] = [uuid(30), uuid(31)];
    const spawned = { sessionId: child, updatedAt: START, spawnedBy: 'boss' };
    const { folder, writeStore } = await importAgentFolder({ 'subagent:1': spawned });
    expect(await readSession(fixture, child)).toMatchObject({ parent_id: null, settings_extra: { spawnedBy: 'boss' } });
    await writeStore({ 'subagent:1': spawned, boss: { sessionId: parent, updatedAt: START } });
    await fixture.import(folder);
    expect(await readSession(fixture, child)).toMatchObject({ parent_id: parent, settings_extra: {} });
  });

  it('refuses a parent link that would close a cycle, and reports it', async () => {
    const [one, two] = [uuid(32), uuid(33)];
    const { folder, writeStore } = await importAgentFolder({
      a: { sessionId: one, updatedAt: START },
      'subagent:b': { sessionId: two, updatedAt: START, spawnedBy: 'a' },
    });
    expect(await readSession(fixture, two)).toMatchObject({ parent_id: one });
    await writeStore({
      a: { sessionId: one, updatedAt: START, spawnedBy: 'subagent:b' },
      'subagent:b': { sessionId: two, updatedAt: START, spawnedBy: 'a' },
    });
    const report = await fixture.import(folder);
    expect(report.problemCounts).toMatchObject({ 'parent not linked': 1 });
    expect(await readSession(fixture, one)).toMatchObject({ parent_id: null, settings_extra: { spawnedBy: 'subagent:b' } });
  });

  it('adds a branch for new messages of the source if messages were added in Sessiongraph', async () => {
    const id = uuid(35);
    const { folder, path } = await importAgentFolder({}, { [`${id}.jsonl`]: transcript(header(id), message('a1', null, 'one')) });
    await fixture.rows(
      `insert into aria_engine.chat_messages (session_id, position, id, role, content, parent_position) values ($1, 2, gen_random_uuid(), 'USER', 'here', 1)`,
      [id],
    );
    await fixture.rows(
      'update aria_engine.chat_session_activity set message_count = 2, next_position = 3, leaf_position = 2 where session_id = $1',
      [id],
    );
    await appendFile(path(`${id}.jsonl`), transcript({ type: 'custom', id: 'c1', parentId: 'a1' }));
    await fixture.import(folder);
    expect(await readSession(fixture, id)).toMatchObject({ leaf_position: 2 });
    await appendFile(path(`${id}.jsonl`), transcript(message('a2', 'c1', 'there')));
    await fixture.import(folder);
    expect((await readMessages(fixture, id)).map(row => [row.content, row.parent, row.onBranch])).toEqual([
      ['one', null, true],
      ['here', 1, false],
      ['there', 1, true],
    ]);
  });
});
