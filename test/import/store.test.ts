import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  at,
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

/** Creates a state folder with one new agent. `AGENT` in the store stands for the agent's id. */
async function createStateFolder(store: string | object, transcripts: Readonly<Record<string, string>> = {}) {
  const agent = `agent-${++agentCount}`;
  const sessions = `agents/${agent}/sessions`;
  const text = (typeof store === 'string' ? store : JSON.stringify(store)).replaceAll('AGENT', agent);
  const files = Object.fromEntries(Object.entries(transcripts).map(([name, content]) => [`${sessions}/${name}`, content]));
  const folder = await fixture.createFolder({ [`${sessions}/sessions.json`]: text, ...files });
  return { folder, agent, sessions };
}

describe('a store entry', () => {
  it('sets the fields of the session, and keeps everything else in settings.extra', async () => {
    const id = uuid(100);
    const entry = {
      sessionId: id,
      updatedAt: START + 60_000,
      sessionFile: `/home/u/.openclaw/agents/main/sessions/${id}.jsonl`,
      chatType: 'dm',
      label: ' research ',
      displayName: 'Research',
      thinkingLevel: 'ultrathink',
      reasoningLevel: 'off',
      verboseLevel: 'loud',
      queueCap: 20,
      modelProvider: 'anthropic',
      model: 'claude-x',
      contextTokens: 200_000,
      inputTokens: 10,
      outputTokens: 20,
      totalTokens: 12_345,
      compactionCount: 3,
      provider: 'telegram',
      origin: { provider: 'telegram', from: 'telegram:1', threadId: 7 },
      deliveryContext: { channel: 'telegram', to: 'telegram:1' },
      lastChannel: 'telegram',
      lastTo: 'elsewhere',
      skillsSnapshot: { prompt: 'p\u0000', skills: [{ name: 'x' }] },
      pinnedAt: START,
    };
    const { folder, agent } = await createStateFolder(
      { 'agent:AGENT:telegram:direct:7': entry },
      { [`${id}.jsonl`]: transcript(header(id), message('a1', null, 'hi')) },
    );
    const report = await fixture.import(folder);
    expect(report.replacedCharacters).toBe(1);
    expect(await readSession(fixture, id)).toMatchObject({
      agent_id: agent,
      key: `agent:${agent}:telegram:direct:7`,
      kind: 'DIRECT',
      type: 'chat',
      status: 'ACTIVE',
      ended_at: null,
      title: 'Research',
      display_name: 'Research',
      derived_title: 'hi',
      label: 'research',
      channel: 'telegram',
      model: 'claude-x',
      model_provider: 'anthropic',
      compaction_count: 3,
      context_used: 12_345,
      input_tokens: 10,
      output_tokens: 20,
      total_tokens: 30,
      settings: { thinkingLevel: 'high', queueCap: 20, contextTokens: 200_000 },
      origin: { provider: 'telegram', from: 'telegram:1', threadId: '7', chatType: 'direct' },
      delivery: { channel: 'telegram', to: 'telegram:1' },
      pinned_at: new Date(START),
      updated_at: new Date(START + 60_000),
      last_activity_at: new Date(START + 60_000),
      settings_extra: {
        sessionFile: entry.sessionFile,
        chatType: 'dm',
        label: ' research ',
        verboseLevel: 'loud',
        inputTokens: 10,
        outputTokens: 20,
        lastTo: 'elsewhere',
        skillsSnapshot: { prompt: 'p\ufffd', skills: [{ name: 'x' }] },
      },
    });
  });

  it.each([
    [{ status: 'running' }, 'STALLED'],
    [{ status: 'running', lastActivityAt: Date.now() }, 'WORKING'],
    [{ status: 'done', endedAt: START + 1_000 }, 'COMPLETED'],
    [{ status: 'timeout' }, 'FAILED'],
    [{ status: 'killed' }, 'TERMINATED'],
    [{ status: 'dreaming' }, 'ACTIVE'],
    [{ status: 'dreaming', endedAt: START }, 'ENDED'],
    [{}, 'ACTIVE'],
  ])('with %j becomes a session with status %s', async (fields, status) => {
    const id = uuid(110 + ++agentCount);
    const { folder } = await createStateFolder({ 'agent:AGENT:main': { sessionId: id, updatedAt: START, ...fields } });
    await fixture.import(folder);
    const row = await readSession(fixture, id);
    expect(row.status).toBe(status);
    expect(row.ended_at === null).toBe(['ACTIVE', 'WORKING', 'STALLED'].includes(status));
    expect(row.metadata).toEqual('status' in fields ? { originalStatus: fields.status } : {});
    expect(await readEventTypes(fixture, id)).toEqual(['CREATED']);
  });

  it('of a subagent is linked to its parent, in any order of the entries', async () => {
    const [child, parent, lost] = [uuid(140), uuid(141), uuid(142)];
    const { folder } = await createStateFolder({
      'agent:AGENT:subagent:1': { sessionId: child, updatedAt: START, spawnedBy: 'main' },
      main: { sessionId: parent, updatedAt: START },
      'agent:AGENT:subagent:2': { sessionId: lost, updatedAt: START, spawnedBy: 'agent:AGENT:gone' },
    });
    await fixture.import(folder);
    expect(await readSession(fixture, child)).toMatchObject({ parent_id: parent, kind: 'SUBAGENT', type: 'subagent', settings_extra: {} });
    expect(await readSession(fixture, parent)).toMatchObject({ kind: 'MAIN', parent_id: null });
    expect(await readSession(fixture, lost)).toMatchObject({
      parent_id: null,
      settings_extra: { spawnedBy: expect.stringMatching(/:gone$/) },
    });
    const [created] = await fixture.rows(`select payload from aria_engine.session_events where session_id = $1`, [child]);
    expect(created).toEqual({ payload: { parentId: parent } });
  });

  it('with the same canonical key as another is merged with it, and the newer fields win', async () => {
    const id = uuid(150);
    const { folder, agent } = await createStateFolder({
      main: { sessionId: id, updatedAt: START + 2, subject: 'newer' },
      'agent:AGENT:main': { sessionId: uuid(151), updatedAt: START + 1, subject: 'older', category: 'kept' },
    });
    const report = await fixture.import(folder);
    expect(report.read.entries).toBe(2);
    expect(report.written.sessionsCreated).toBe(1);
    expect(report.problemCounts).toMatchObject({ 'keys merged': 1 });
    expect(await readSession(fixture, id)).toMatchObject({ key: `agent:${agent}:main`, subject: 'newer', category: 'kept' });
  });

  it('of a cron run is merged with the entry of the job, under the key of the job', async () => {
    const id = uuid(155);
    const { folder, agent } = await createStateFolder({
      'agent:AGENT:cron:job:run:1': { sessionId: id, updatedAt: START },
      'agent:AGENT:cron:job': { sessionId: id, updatedAt: START },
    });
    await fixture.import(folder);
    expect(await readSession(fixture, id)).toMatchObject({
      key: `agent:${agent}:cron:job`,
      type: 'cron',
      settings_extra: { otherKeys: [`agent:${agent}:cron:job:run:1`] },
    });
  });

  it('keeps its label in settings.extra if an earlier session has the label', async () => {
    const [first, second] = [uuid(160), uuid(161)];
    const { folder } = await createStateFolder({
      'agent:AGENT:one': { sessionId: first, updatedAt: START, label: 'same' },
      'agent:AGENT:two': { sessionId: second, updatedAt: START, label: 'same' },
    });
    const report = await fixture.import(folder);
    expect(report.problemCounts).toMatchObject({ 'label taken by another session': 1 });
    expect(await readSession(fixture, first)).toMatchObject({ label: 'same', settings_extra: {} });
    expect(await readSession(fixture, second)).toMatchObject({ label: null, settings_extra: { label: 'same' } });
    expect((await fixture.import(folder)).sessionsUnchanged).toBe(2);
  });

  it('keeps its key in settings.extra if a session created in Sessiongraph has the key', async () => {
    const [here, there] = [uuid(165), uuid(166)];
    const { folder, agent } = await createStateFolder({ 'agent:AGENT:main': { sessionId: there, updatedAt: START } });
    await fixture.rows(
      `with created as (insert into aria_engine.chat_sessions (id, agent_id, key, kind, title) values ($1, $2, $3, 'MAIN', 'here') returning id)
       insert into aria_engine.chat_session_activity (session_id, agent_id) select id, $2 from created`,
      [here, agent, `agent:${agent}:main`],
    );
    const report = await fixture.import(folder);
    expect(report.problemCounts).toMatchObject({ 'key taken by another session': 1 });
    expect(await readSession(fixture, there)).toMatchObject({
      key: null,
      kind: 'OTHER',
      settings_extra: { sessionKey: `agent:${agent}:main` },
    });
  });

  it('with a key that names no agent and rest keeps the key as it is, and belongs to the agent of the store', async () => {
    const [one, two] = [uuid(990), uuid(991)];
    const { folder, agent } = await createStateFolder({
      'agent:::': { sessionId: one, updatedAt: START },
      'agent:AGENT': { sessionId: two, updatedAt: START },
    });
    await fixture.import(folder);
    expect(await readSession(fixture, one)).toMatchObject({ key: 'agent:::', agent_id: agent, kind: 'DIRECT' });
    expect(await readSession(fixture, two)).toMatchObject({ key: `agent:${agent}`, agent_id: agent, kind: 'DIRECT' });
  });

  it('without a session id is skipped and reported, and the others are imported', async () => {
    const id = uuid(170);
    const { folder } = await createStateFolder({
      'agent:AGENT:a': 5,
      'agent:AGENT:b': { updatedAt: 1 },
      'agent:AGENT:c': { sessionId: id },
    });
    const report = await fixture.import(folder);
    expect(report.problemCounts).toEqual({
      'store entry is not an object': 1,
      'store entry without a session id': 1,
      'store entry without transcript': 1,
    });
    expect(report.written.sessionsCreated).toBe(1);
  });
});

describe('a store', () => {
  it('may be JSON5, and its session ids need not be UUIDs', async () => {
    const { folder, agent } = await createStateFolder(`{ /* by hand */ 'agent:AGENT:main': { sessionId: 'mine', updatedAt: ${START}, }, }`);
    await fixture.import(folder);
    const [row] = await fixture.rows<{ id: string }>('select id from aria_engine.chat_sessions where external_id = $1 and agent_id = $2', [
      'mine',
      agent,
    ]);
    expect(row?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5/);
  });

  it('that cannot be parsed is reported as a failure, and its transcripts are imported as ended sessions', async () => {
    const id = uuid(180);
    const { folder, sessions } = await createStateFolder('{ broken', {
      [`${id}.jsonl`]: transcript(header(id), message('a1', null, 'hi')),
    });
    const report = await fixture.import(folder);
    expect(report.failures.map(failure => failure.name)).toEqual([`${sessions}/sessions.json`]);
    expect(await readSession(fixture, id)).toMatchObject({ status: 'ENDED', key: null });
  });

  it('names the live sessions: other transcripts become ended sessions, and other files are skipped', async () => {
    const [live, old] = [uuid(190), uuid(191)];
    const lines = (id: string) => transcript(header(id), message('a1', null, `of ${id}`));
    const { folder, agent, sessions } = await createStateFolder(
      { 'agent:AGENT:main': { sessionId: live, updatedAt: START } },
      {
        [`${live}.jsonl`]: lines(live),
        [`${old}.jsonl`]: lines(old),
        [`${live}.checkpoint.${uuid(192)}.jsonl`]: lines(uuid(192)),
        [`${live}.trajectory.jsonl`]: lines(uuid(193)),
        [`${old}.jsonl.deleted.2026-02-28T05-34-23.416Z`]: 'x',
        [`${old}.jsonl.reset.2026-02-28T05-34-23Z`]: 'x',
        [`${old}.jsonl.bak-12-1770000000000`]: 'x',
        'sessions.json.bak.1770000000000': '{}',
        'sessions.json.lock': '{}',
        'notes.txt': 'x',
      },
    );
    const report = await fixture.import(folder);
    expect(report.written.sessionsCreated).toBe(2);
    expect(report.skipped).toEqual({
      'compaction checkpoint': 1,
      trajectory: 1,
      'transcript deleted in OpenClaw': 1,
      'archive of a reset': 1,
      'backup of a transcript': 1,
      'backup of the store': 1,
      'lock file': 1,
      'not a session': 1,
    });
    expect(await readSession(fixture, old)).toMatchObject({
      agent_id: agent,
      status: 'ENDED',
      key: null,
      kind: 'OTHER',
      ended_at: new Date(at(1)),
    });
    expect(await readMessages(fixture, live)).toHaveLength(1);
    const one = await fixture.import(`${folder}/${sessions}/${live}.jsonl`);
    expect(one.sessionsUnchanged).toBe(1);
    expect(one.written.sessionsCreated).toBe(0);
  });
});

describe('a state folder with several agents', () => {
  it('is imported as a whole, or for one agent', async () => {
    const folder = await fixture.createFolder({
      'agents/left/sessions/sessions.json': { main: { sessionId: uuid(200), updatedAt: START } },
      'agents/Right Hand/sessions/sessions.json': { main: { sessionId: uuid(201), updatedAt: START } },
    });
    expect((await fixture.import(folder, { agentId: 'left' })).written.sessionsCreated).toBe(1);
    expect(await readSession(fixture, uuid(200))).toMatchObject({ key: 'agent:left:main' });
    expect((await fixture.import(folder)).written.sessionsCreated).toBe(1);
    expect(await readSession(fixture, uuid(201))).toMatchObject({ agent_id: 'right-hand', key: 'agent:right-hand:main' });
    await expect(fixture.import(folder, { agentId: 'nobody' })).rejects.toThrow('no OpenClaw sessions of the agent nobody');
  });
});

describe('a session id', () => {
  it('that a session of another agent has is skipped', async () => {
    const id = uuid(220);
    const folder = await fixture.createFolder({
      'agents/one/sessions/sessions.json': { main: { sessionId: id, updatedAt: START, subject: 'of one' } },
      'agents/two/sessions/sessions.json': { main: { sessionId: id, updatedAt: START, subject: 'of two' } },
    });
    const report = await fixture.import(folder);
    expect(report.skipped).toEqual({ 'a session of another agent has the same id': 1 });
    expect(await readSession(fixture, id)).toMatchObject({ agent_id: 'one', subject: 'of one' });
  });
});

describe('a dry run', () => {
  it('reports what an import would write, and writes nothing', async () => {
    const id = uuid(210);
    const { folder } = await createStateFolder(
      { 'agent:AGENT:main': { sessionId: id, updatedAt: START } },
      { [`${id}.jsonl`]: transcript(header(id), message('a1', null, 'hi')) },
    );
    const report = await fixture.import(folder, { dryRun: true });
    expect(report.written).toEqual({ sessionsCreated: 1, sessionsUpdated: 0, messages: 1, lines: 2 });
    expect(await fixture.rows('select from aria_engine.chat_sessions where id = $1', [id])).toEqual([]);
    expect((await fixture.import(folder)).written).toEqual(report.written);
    expect((await fixture.import(folder, { dryRun: true })).sessionsUnchanged).toBe(1);
  });
});
