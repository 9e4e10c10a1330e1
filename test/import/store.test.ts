import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  at,
  eventsOf,
  header,
  type ImportStage,
  message,
  messagesOf,
  openStage,
  START,
  sessionOf,
  transcript,
  uuid,
} from './openclaw-folder.ts';

let stage: ImportStage;
let agents = 0;

beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage.close());

/** A state folder of one agent that no other test has. */
async function stateFolder(store: string | object, transcripts: Readonly<Record<string, string>> = {}) {
  const agent = `agent-${++agents}`;
  const sessions = `agents/${agent}/sessions`;
  const text = (typeof store === 'string' ? store : JSON.stringify(store)).replaceAll('AGENT', agent);
  const files = Object.fromEntries(Object.entries(transcripts).map(([name, content]) => [`${sessions}/${name}`, content]));
  const folder = await stage.folder({ [`${sessions}/sessions.json`]: text, ...files });
  return { folder, agent, sessions };
}

describe('a store entry', () => {
  it('gives its fields to the session, and what has none to settings.extra', async () => {
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
    const { folder, agent } = await stateFolder(
      { 'agent:AGENT:telegram:direct:7': entry },
      { [`${id}.jsonl`]: transcript(header(id), message('a1', null, 'hi')) },
    );
    const report = await stage.import(folder);
    expect(report.replacedCharacters).toBe(1);
    expect(await sessionOf(stage, id)).toMatchObject({
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
  ])('%j stands as %s', async (fields, status) => {
    const id = uuid(110 + ++agents);
    const { folder } = await stateFolder({ 'agent:AGENT:main': { sessionId: id, updatedAt: START, ...fields } });
    await stage.import(folder);
    const row = await sessionOf(stage, id);
    expect(row.status).toBe(status);
    expect(row.ended_at === null).toBe(['ACTIVE', 'WORKING', 'STALLED'].includes(status));
    expect(row.metadata).toEqual('status' in fields ? { originalStatus: fields.status } : {});
    expect(await eventsOf(stage, id)).toEqual(['CREATED']);
  });

  it('of a subagent hangs on its parent, wherever the two stand in the store', async () => {
    const [child, parent, lost] = [uuid(140), uuid(141), uuid(142)];
    const { folder } = await stateFolder({
      'agent:AGENT:subagent:1': { sessionId: child, updatedAt: START, spawnedBy: 'main' },
      main: { sessionId: parent, updatedAt: START },
      'agent:AGENT:subagent:2': { sessionId: lost, updatedAt: START, spawnedBy: 'agent:AGENT:gone' },
    });
    await stage.import(folder);
    expect(await sessionOf(stage, child)).toMatchObject({ parent_id: parent, kind: 'SUBAGENT', type: 'subagent', settings_extra: {} });
    expect(await sessionOf(stage, parent)).toMatchObject({ kind: 'MAIN', parent_id: null });
    expect(await sessionOf(stage, lost)).toMatchObject({ parent_id: null, settings_extra: { spawnedBy: expect.stringMatching(/:gone$/) } });
    const [created] = await stage.rows(`select payload from aria_engine.session_events where session_id = $1`, [child]);
    expect(created).toEqual({ payload: { parentId: parent } });
  });

  it('with two raw keys of one canonical key is one session, the newer fields winning', async () => {
    const id = uuid(150);
    const { folder, agent } = await stateFolder({
      main: { sessionId: id, updatedAt: START + 2, subject: 'newer' },
      'agent:AGENT:main': { sessionId: uuid(151), updatedAt: START + 1, subject: 'older', category: 'kept' },
    });
    const report = await stage.import(folder);
    expect(report.read.entries).toBe(2);
    expect(report.written.sessionsCreated).toBe(1);
    expect(report.problemCounts).toMatchObject({ 'keys merged': 1 });
    expect(await sessionOf(stage, id)).toMatchObject({ key: `agent:${agent}:main`, subject: 'newer', category: 'kept' });
  });

  it('of a cron job and of its run are one session, found by the key of the job', async () => {
    const id = uuid(155);
    const { folder, agent } = await stateFolder({
      'agent:AGENT:cron:job:run:1': { sessionId: id, updatedAt: START },
      'agent:AGENT:cron:job': { sessionId: id, updatedAt: START },
    });
    await stage.import(folder);
    expect(await sessionOf(stage, id)).toMatchObject({
      key: `agent:${agent}:cron:job`,
      type: 'cron',
      settings_extra: { otherKeys: [`agent:${agent}:cron:job:run:1`] },
    });
  });

  it('gives its label to the first; the others keep theirs in settings.extra', async () => {
    const [first, second] = [uuid(160), uuid(161)];
    const { folder } = await stateFolder({
      'agent:AGENT:one': { sessionId: first, updatedAt: START, label: 'same' },
      'agent:AGENT:two': { sessionId: second, updatedAt: START, label: 'same' },
    });
    const report = await stage.import(folder);
    expect(report.problemCounts).toMatchObject({ 'label taken by another session': 1 });
    expect(await sessionOf(stage, first)).toMatchObject({ label: 'same', settings_extra: {} });
    expect(await sessionOf(stage, second)).toMatchObject({ label: null, settings_extra: { label: 'same' } });
    expect((await stage.import(folder)).sessionsUnchanged).toBe(2);
  });

  it('leaves a key to a session that was made here', async () => {
    const [here, there] = [uuid(165), uuid(166)];
    const { folder, agent } = await stateFolder({ 'agent:AGENT:main': { sessionId: there, updatedAt: START } });
    await stage.rows(
      `with made as (insert into aria_engine.chat_sessions (id, agent_id, key, kind, title) values ($1, $2, $3, 'MAIN', 'here') returning id)
       insert into aria_engine.chat_session_activity (session_id, agent_id) select id, $2 from made`,
      [here, agent, `agent:${agent}:main`],
    );
    const report = await stage.import(folder);
    expect(report.problemCounts).toMatchObject({ 'key taken by another session': 1 });
    expect(await sessionOf(stage, there)).toMatchObject({
      key: null,
      kind: 'OTHER',
      settings_extra: { sessionKey: `agent:${agent}:main` },
    });
  });

  it('is left out where it names no session, and the others come in', async () => {
    const id = uuid(170);
    const { folder } = await stateFolder({ 'agent:AGENT:a': 5, 'agent:AGENT:b': { updatedAt: 1 }, 'agent:AGENT:c': { sessionId: id } });
    const report = await stage.import(folder);
    expect(report.problemCounts).toEqual({
      'store entry is not an object': 1,
      'store entry without a session id': 1,
      'entry without transcript': 1,
    });
    expect(report.written.sessionsCreated).toBe(1);
  });
});

describe('a store', () => {
  it('may be JSON5, and session ids need not be UUIDs', async () => {
    const { folder, agent } = await stateFolder(`{ /* by hand */ 'agent:AGENT:main': { sessionId: 'mine', updatedAt: ${START}, }, }`);
    await stage.import(folder);
    const [row] = await stage.rows<{ id: string }>('select id from aria_engine.chat_sessions where external_id = $1 and agent_id = $2', [
      'mine',
      agent,
    ]);
    expect(row?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5/);
  });

  it('that cannot be read is a failure, and its transcripts come in as history', async () => {
    const id = uuid(180);
    const { folder, sessions } = await stateFolder('{ broken', { [`${id}.jsonl`]: transcript(header(id), message('a1', null, 'hi')) });
    const report = await stage.import(folder);
    expect(report.failures.map(failure => failure.name)).toEqual([`${sessions}/sessions.json`]);
    expect(await sessionOf(stage, id)).toMatchObject({ status: 'ENDED', key: null });
  });

  it('names only what is live: other transcripts are ended sessions, and artifacts are none', async () => {
    const [live, old] = [uuid(190), uuid(191)];
    const lines = (id: string) => transcript(header(id), message('a1', null, `of ${id}`));
    const { folder, agent, sessions } = await stateFolder(
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
    const report = await stage.import(folder);
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
    expect(await sessionOf(stage, old)).toMatchObject({
      agent_id: agent,
      status: 'ENDED',
      key: null,
      kind: 'OTHER',
      ended_at: new Date(at(1)),
    });
    expect(await messagesOf(stage, live)).toHaveLength(1);
    const one = await stage.import(`${folder}/${sessions}/${live}.jsonl`);
    expect(one.sessionsUnchanged).toBe(1);
    expect(one.written.sessionsCreated).toBe(0);
  });
});

describe('several agents', () => {
  it('are taken all, or one alone', async () => {
    const folder = await stage.folder({
      'agents/left/sessions/sessions.json': { main: { sessionId: uuid(200), updatedAt: START } },
      'agents/Right Hand/sessions/sessions.json': { main: { sessionId: uuid(201), updatedAt: START } },
    });
    expect((await stage.import(folder, { agentId: 'left' })).written.sessionsCreated).toBe(1);
    expect(await sessionOf(stage, uuid(200))).toMatchObject({ key: 'agent:left:main' });
    expect((await stage.import(folder)).written.sessionsCreated).toBe(1);
    expect(await sessionOf(stage, uuid(201))).toMatchObject({ agent_id: 'right-hand', key: 'agent:right-hand:main' });
    await expect(stage.import(folder, { agentId: 'nobody' })).rejects.toThrow('no OpenClaw sessions of the agent nobody');
  });
});

describe('a session id', () => {
  it('that another agent has already is left to that one', async () => {
    const id = uuid(220);
    const folder = await stage.folder({
      'agents/one/sessions/sessions.json': { main: { sessionId: id, updatedAt: START, subject: 'of one' } },
      'agents/two/sessions/sessions.json': { main: { sessionId: id, updatedAt: START, subject: 'of two' } },
    });
    const report = await stage.import(folder);
    expect(report.skipped).toEqual({ 'a session of another agent has the same id': 1 });
    expect(await sessionOf(stage, id)).toMatchObject({ agent_id: 'one', subject: 'of one' });
  });
});

describe('a dry run', () => {
  it('says what would come and writes nothing', async () => {
    const id = uuid(210);
    const { folder } = await stateFolder(
      { 'agent:AGENT:main': { sessionId: id, updatedAt: START } },
      { [`${id}.jsonl`]: transcript(header(id), message('a1', null, 'hi')) },
    );
    const report = await stage.import(folder, { dryRun: true });
    expect(report.written).toEqual({ sessionsCreated: 1, sessionsUpdated: 0, messages: 1, lines: 2 });
    expect(await stage.rows('select from aria_engine.chat_sessions where id = $1', [id])).toEqual([]);
    expect((await stage.import(folder)).written).toEqual(report.written);
    expect((await stage.import(folder, { dryRun: true })).sessionsUnchanged).toBe(1);
  });
});
