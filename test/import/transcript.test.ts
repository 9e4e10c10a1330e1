import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
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
  transcript,
  uuid,
} from './openclaw-folder.ts';

let fixture: ImportFixture;
let nextId = 1;

beforeAll(async () => {
  fixture = await openImportFixture();
});
afterAll(() => fixture.close());

/** Imports a transcript with a new session id. */
async function importLines(...lines: readonly (object | string)[]) {
  const id = uuid(nextId++);
  const folder = await fixture.createFolder({ [`${id}.jsonl`]: transcript(header(id), ...lines) });
  const report = await fixture.import(folder);
  expect(report.failures).toEqual([]);
  return { id, folder, report, file: join(folder, `${id}.jsonl`) };
}

describe('a transcript', () => {
  it('is imported completely: each line raw, each message with its parts, usage and cost', async () => {
    const usage = { input: 10, output: 20, cacheRead: 5, cacheWrite: 1, totalTokens: 36, cost: { input: 0.1, output: 0.2, total: 0.3 } };
    const { id, report } = await importLines(
      { type: 'model_change', id: 'a1', parentId: null, timestamp: at(1), provider: 'anthropic', modelId: 'claude-x' },
      message('a2', 'a1', 'Look   around\nplease'),
      {
        type: 'message',
        id: 'a3',
        parentId: 'a2',
        timestamp: at(3),
        message: {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'hm', thinkingSignature: 'sig' },
            { type: 'text', text: 'Looking' },
            { type: 'toolCall', id: 'call_1', name: 'exec', arguments: { command: 'ls' }, partialJson: '{' },
          ],
          api: 'anthropic-messages',
          provider: 'anthropic',
          model: 'claude-x',
          usage,
          stopReason: 'toolUse',
        },
      },
      {
        type: 'message',
        id: 'a4',
        parentId: 'a3',
        timestamp: at(4),
        message: {
          role: 'toolResult',
          toolCallId: 'call_1',
          toolName: 'exec',
          content: [
            { type: 'text', text: 'a.txt' },
            { type: 'image', data: 'aGk=', mimeType: 'image/png' },
          ],
          details: { exitCode: 0 },
          isError: false,
        },
      },
    );
    expect(report.written).toEqual({ sessionsCreated: 1, sessionsUpdated: 0, messages: 3, lines: 5 });
    const [, assistantMessage, toolResult] = await fixture.rows<Record<string, unknown>>(
      `select parts, content, model, provider, total_tokens::int, cost_nano_usd::int, stop_reason, metadata, parent_position::int, created_at
       from aria_engine.chat_messages where session_id = $1 order by position`,
      [id],
    );
    expect(assistantMessage).toEqual({
      parts: [
        { type: 'thinking', text: 'hm', redacted: false },
        { type: 'text', text: 'Looking' },
        { type: 'toolCall', callId: 'call_1', name: 'exec', arguments: { command: 'ls' } },
      ],
      content: 'Looking',
      model: 'claude-x',
      provider: 'anthropic',
      total_tokens: 36,
      cost_nano_usd: 300_000_000,
      stop_reason: 'toolUse',
      metadata: { api: 'anthropic-messages' },
      parent_position: 1,
      created_at: new Date(at(3)),
    });
    expect(toolResult).toMatchObject({
      content: 'a.txt',
      parts: [
        { type: 'toolResult', callId: 'call_1', name: 'exec', content: 'a.txt', isError: false, details: { exitCode: 0 } },
        { type: 'image', mimeType: 'image/png', data: 'aGk=' },
      ],
      total_tokens: null,
    });
    expect(await readSession(fixture, id)).toMatchObject({
      status: 'ENDED',
      ended_at: new Date(at(4)),
      created_at: new Date(at(0)),
      last_message_at: new Date(at(4)),
      title: 'Look around please',
      model: 'claude-x',
      model_provider: 'anthropic',
      message_count: 3,
      next_position: 4,
      leaf_position: 3,
      total_tokens: 36,
      metadata: { cwd: '/srv/work' },
      external_id: null,
    });
    expect(
      await fixture.rows(
        'select line, entry_id, position::int, raw <> $2 as has_raw from aria_engine.import_lines where session_id = $1 order by line',
        [id, ''],
      ),
    ).toEqual([
      { line: 1, entry_id: 'line:1', position: null, has_raw: true },
      { line: 2, entry_id: 'a1', position: null, has_raw: true },
      { line: 3, entry_id: 'a2', position: 1, has_raw: true },
      { line: 4, entry_id: 'a3', position: 2, has_raw: true },
      { line: 5, entry_id: 'a4', position: 3, has_raw: true },
    ]);
    expect(await readEventTypes(fixture, id)).toEqual(['CREATED']);
  });

  it('of version 1 chains its lines in order and finds the first kept entry of a compaction by its index', async () => {
    const line = (second: number, text: string) => ({ type: 'message', timestamp: at(second), message: { role: 'user', content: text } });
    const id = uuid(nextId++);
    const { version: _none, ...first } = header(id, { provider: 'anthropic', modelId: 'claude-old', thinkingLevel: 'high' }) as Record<
      string,
      unknown
    >;
    const compaction = { type: 'compaction', timestamp: at(4), summary: 'so far', firstKeptEntryIndex: 2, tokensBefore: 9 };
    const folder = await fixture.createFolder({
      [`${id}.jsonl`]: transcript(first, line(1, 'one'), line(2, 'two'), line(3, 'three'), compaction, line(5, 'four')),
    });
    await fixture.import(folder);
    expect((await readMessages(fixture, id)).map(({ position, externalId, role, parent }) => [position, externalId, role, parent])).toEqual(
      [
        [1, 'line:2', 'USER', null],
        [2, 'line:3', 'USER', 1],
        [3, 'line:4', 'USER', 2],
        [4, 'line:5', 'SYSTEM', 3],
        [5, 'line:6', 'USER', 4],
      ],
    );
    expect(await readSession(fixture, id)).toMatchObject({
      compacted_through: 1,
      compaction_count: 1,
      model: 'claude-old',
      settings: { thinkingLevel: 'high' },
    });
  });

  it('that grew adds only its new lines, below their parents', async () => {
    const { id, folder, file } = await importLines(message('a1', null, 'one'), message('a2', 'a1', 'two'));
    await appendFile(file, transcript({ type: 'custom', id: 'a3', parentId: 'a2', timestamp: at(3) }, message('a4', 'a3', 'three')));
    const report = await fixture.import(folder);
    expect(report.written).toEqual({ sessionsCreated: 0, sessionsUpdated: 1, messages: 1, lines: 2 });
    expect((await readMessages(fixture, id)).map(row => [row.content, row.parent, row.onBranch])).toEqual([
      ['one', null, true],
      ['two', 1, true],
      ['three', 2, true],
    ]);
    expect(await readSession(fixture, id)).toMatchObject({ message_count: 3, leaf_position: 3, ended_at: new Date(at(4)) });
    expect(await readEventTypes(fixture, id)).toEqual(['CREATED', 'MESSAGE_ADDED', 'STATUS_CHANGED']);
  });

  it('that is imported again without changes writes nothing', async () => {
    const { id, folder } = await importLines(message('a1', null, 'one'));
    const snapshot = () =>
      fixture.rows(
        `select s.xmin::text as session, a.xmin::text as activity, i.xmin::text as source, (select count(*)::int from aria_engine.session_events) as events
         from aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id
           join aria_engine.import_sources i on i.session_id = s.id where s.id = $1`,
        [id],
      );
    const before = await snapshot();
    const report = await fixture.import(folder);
    expect(report.written).toEqual({ sessionsCreated: 0, sessionsUpdated: 0, messages: 0, lines: 0 });
    expect(report.sessionsUnchanged).toBe(1);
    expect(await snapshot()).toEqual(before);
  });

  it('with branches activates the branch of its last line', async () => {
    const { id, folder, file } = await importLines(
      message('a1', null, 'root'),
      message('a2', 'a1', 'left'),
      message('a3', 'a2', 'left leaf'),
      message('a4', 'a1', 'right'),
      { type: 'label', id: 'a5', parentId: 'a4', timestamp: at(5), targetId: 'a1', label: 'here' },
    );
    const branch = async () => (await readMessages(fixture, id)).filter(row => row.onBranch).map(row => row.content);
    expect(await branch()).toEqual(['root', 'right']);
    expect(await readSession(fixture, id)).toMatchObject({ leaf_position: 4 });

    await appendFile(file, transcript(message('a6', 'a3', 'left again')));
    await fixture.import(folder);
    expect(await branch()).toEqual(['root', 'left', 'left leaf', 'left again']);
  });

  it('sets lastMessageAt to the time of the last message of its branch, not to the latest time', async () => {
    const lastMessageAt = async (id: string) => (await readSession(fixture, id)).last_message_at;
    const { id, folder, file } = await importLines(message('a7', null, 'wrong clock'), message('a3', 'a7', 'last'));
    expect(await lastMessageAt(id)).toEqual(new Date(at(3)));
    await appendFile(file, transcript(message('a2', 'a3', 'later line')));
    await fixture.import(folder);
    expect(await lastMessageAt(id)).toEqual(new Date(at(2)));
    // The label moves the branch back to the first message.
    await appendFile(file, transcript({ type: 'label', id: 'a5', parentId: 'a7', timestamp: at(5), targetId: 'a7', label: 'here' }));
    await fixture.import(folder);
    expect(await readSession(fixture, id)).toMatchObject({ leaf_position: 1, last_message_at: new Date(at(7)) });
  });

  it('applies the compaction of the active branch only', async () => {
    const compaction = (id: string, parentId: string, firstKeptEntryId: string) => ({
      type: 'compaction',
      id,
      parentId,
      timestamp: at(9),
      summary: 'short',
      firstKeptEntryId,
    });
    const { id, folder, file } = await importLines(
      message('a1', null, 'one'),
      message('a2', 'a1', 'two'),
      compaction('c1', 'a2', 'a2'),
      message('a3', 'c1', 'three'),
      message('b2', 'a1', 'other two'),
    );
    expect(await readSession(fixture, id)).toMatchObject({ compacted_through: 0, compaction_count: 1 });
    await appendFile(file, transcript(message('a4', 'a3', 'four'), compaction('c2', 'a4', 'a4')));
    await fixture.import(folder);
    expect(await readSession(fixture, id)).toMatchObject({ compacted_through: 5, compaction_count: 2 });
  });

  it('starts a new root at a missing parent and reports it', async () => {
    const { id, report } = await importLines(message('a1', null, 'one'), message('a2', 'gone', 'two'));
    expect((await readMessages(fixture, id)).map(row => [row.parent, row.onBranch])).toEqual([
      [null, false],
      [null, true],
    ]);
    expect(report.problems).toEqual([{ file: `${id}.jsonl`, line: 3, reason: 'missing parent', detail: 'gone' }]);
  });

  it('keeps malformed and blank lines raw and imports the lines after them', async () => {
    const { id, report } = await importLines(
      message('a1', null, 'one'),
      '{"type":"message","id":"a2",',
      '',
      '[1]',
      message('a3', 'a1', 'three'),
    );
    expect((await readMessages(fixture, id)).map(row => row.content)).toEqual(['one', 'three']);
    expect(report.problems.map(({ line, reason }) => [line, reason])).toEqual([
      [3, 'malformed line'],
      [5, 'malformed line'],
    ]);
    const raw = await fixture.rows<{ raw: string }>('select raw from aria_engine.import_lines where session_id = $1 order by line', [id]);
    expect(raw.map(row => row.raw).slice(2, 5)).toEqual(['{"type":"message","id":"a2",', '', '[1]']);
  });

  it('keeps an unfinished last line raw, and replaces it when the line is complete', async () => {
    const { id, folder, file } = await importLines(message('a1', null, 'one'));
    const raw = async () =>
      (await fixture.rows<{ raw: string }>('select raw from aria_engine.import_lines where session_id = $1 order by line', [id])).map(
        row => row.raw,
      );
    const next = JSON.stringify(message('a2', 'a1', 'two'));
    await appendFile(file, next.slice(0, 30));
    const report = await fixture.import(folder);
    expect(report.problems).toEqual([{ file: `${id}.jsonl`, line: 3, reason: 'unfinished last line' }]);
    expect((await raw()).at(2)).toBe(next.slice(0, 30));
    expect((await fixture.import(folder)).sessionsUnchanged).toBe(1);
    await appendFile(file, next.slice(30));
    expect((await fixture.import(folder)).written.messages).toBe(1);
    await appendFile(file, `\n${JSON.stringify(message('a3', 'a2', 'three'))}\n`);
    expect((await fixture.import(folder)).written.messages).toBe(1);
    expect((await readMessages(fixture, id)).map(row => row.content)).toEqual(['one', 'two', 'three']);
    expect(await raw()).toEqual([expect.any(String), expect.any(String), next, expect.stringContaining('three')]);
  });

  it('without a complete line is skipped', async () => {
    const id = uuid(nextId++);
    const report = await fixture.import(
      await fixture.createFolder({ [`${id}.jsonl`]: '{"type":"session",', [`${uuid(nextId++)}.jsonl`]: '' }),
    );
    expect(report.skipped).toEqual({ 'empty transcript': 2 });
    expect(await fixture.rows('select from aria_engine.chat_sessions where id = $1', [id])).toEqual([]);
  });

  it('gets U+FFFD in place of NUL and lone surrogates, and the report counts them', async () => {
    const { id, report } = await importLines(
      '{"type":"message","id":"a1","parentId":null,"message":{"role":"user","content":"a\\u0000b \\ud83d! \\ud83d\\ude00","x\\u0000":1}}',
    );
    expect(report.replacedCharacters).toBe(3);
    expect((await readMessages(fixture, id))[0]?.content).toBe('a\ufffdb \ufffd! 😀');
    const [line] = await fixture.rows<{ raw: string }>('select raw from aria_engine.import_lines where session_id = $1 and line = 2', [id]);
    expect(line?.raw).toContain('a\\u0000b');
  });

  it('keeps both messages with the same entry id, and one of two identical lines', async () => {
    const repeated = message('a2', 'a1', 'once');
    const { id, report } = await importLines(
      message('a1', null, 'one'),
      repeated,
      repeated,
      message('a2', 'a1', 'another'),
      message('a3', 'a2', 'three'),
    );
    expect((await readMessages(fixture, id)).map(row => [row.externalId, row.content, row.parent])).toEqual([
      ['a1', 'one', null],
      ['a2', 'once', 1],
      ['line:5', 'another', 1],
      ['a3', 'three', 2],
    ]);
    expect(report.problems.map(({ line, reason }) => [line, reason])).toEqual([
      [4, 'repeated entry'],
      [5, 'duplicate entry id'],
    ]);
  });

  it('takes its session id from the file name if the header has another one', async () => {
    const id = uuid(nextId++);
    const other = uuid(nextId++);
    const folder = await fixture.createFolder({ [`${id}.jsonl`]: transcript(header(other), message('a1', null, 'hello')) });
    const report = await fixture.import(folder);
    expect(report.problems).toEqual([{ file: `${id}.jsonl`, line: 1, reason: 'header names another session', detail: other }]);
    expect(await readMessages(fixture, id)).toHaveLength(1);
  });

  it('takes its session id from the header if the file name has none, and a second file becomes a second session', async () => {
    const id = uuid(nextId++);
    const lines = transcript(header(id), message('a1', null, 'hello'));
    const folder = await fixture.createFolder({ 'first.jsonl': lines, 'second.jsonl': lines });
    await fixture.import(folder);
    const rows = await fixture.rows<{ id: string; external_id: string | null }>(
      `select id, external_id from aria_engine.chat_sessions where id = $1 or external_id = 'second' order by external_id nulls first`,
      [id],
    );
    expect(rows.map(row => row.external_id)).toEqual([null, 'second']);
  });

  it('that was rewritten with entry ids and without its first lines adds only what is new', async () => {
    const line = (second: number, text: string) => ({ type: 'message', timestamp: at(second), message: { role: 'user', content: text } });
    const id = uuid(nextId++);
    const folder = await fixture.createFolder({
      [`${id}.jsonl`]: transcript({ ...header(id), version: 1 }, line(1, 'one'), line(2, 'two'), line(3, 'three')),
    });
    await fixture.import(folder);
    const rewritten = [
      header(id),
      { ...line(2, 'two'), id: 'b2', parentId: null },
      { ...line(3, 'three'), id: 'b3', parentId: 'b2' },
      { ...line(4, 'four'), id: 'b4', parentId: 'b3' },
    ];
    await fixture.write(folder, { [`${id}.jsonl`]: transcript(...rewritten) });
    expect((await fixture.import(folder)).written.messages).toBe(1);
    await appendFile(join(folder, `${id}.jsonl`), transcript({ ...line(5, 'five'), id: 'b5', parentId: 'b4' }));
    expect((await fixture.import(folder)).written.messages).toBe(1);
    expect((await fixture.import(folder)).written).toEqual({ sessionsCreated: 0, sessionsUpdated: 0, messages: 0, lines: 0 });
    expect((await readMessages(fixture, id)).map(row => [row.content, row.parent, row.onBranch])).toEqual([
      ['one', null, true],
      ['two', 1, true],
      ['three', 2, true],
      ['four', 3, true],
      ['five', 4, true],
    ]);
  });
});
