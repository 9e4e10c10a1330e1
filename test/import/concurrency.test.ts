import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
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

beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage.close());

const texts = Array.from({ length: 50 }, (_, index) => `message ${index + 1}`);

const chain = (from: number, to: number) =>
  texts.slice(from, to).map((text, index) => message(`a${from + index + 1}`, from + index === 0 ? null : `a${from + index}`, text));

describe('two imports at once', () => {
  it('of the same folder bring everything once', async () => {
    const ids = Array.from({ length: 8 }, (_, index) => uuid(index + 1));
    const store = Object.fromEntries(
      ids.map((id, index) => [`agent:main:telegram:direct:${index}`, { sessionId: id, updatedAt: START, label: `l${index}` }]),
    );
    const files = Object.fromEntries(ids.map(id => [`${id}.jsonl`, transcript(header(id), ...chain(0, 50))]));
    const folder = await stage.folder({ 'sessions.json': store, ...files });
    const reports = await Promise.all([stage.import(folder), stage.import(folder), stage.import(folder)]);
    expect(reports.flatMap(report => report.failures)).toEqual([]);
    expect(reports.reduce((sum, report) => sum + report.written.sessionsCreated, 0)).toBe(8);
    expect(reports.reduce((sum, report) => sum + report.written.messages, 0)).toBe(400);
    for (const id of ids) {
      expect((await messagesOf(stage, id)).map(row => row.content)).toEqual(texts);
      expect(await sessionOf(stage, id)).toMatchObject({ message_count: 50, next_position: 51 });
      expect(await eventsOf(stage, id)).toEqual(['CREATED']);
    }
  });

  it('of a transcript that grew bring its new lines once', async () => {
    const id = uuid(20);
    const folder = await stage.folder({ [`${id}.jsonl`]: transcript(header(id), ...chain(0, 10)) });
    await stage.import(folder);
    await appendFile(join(folder, `${id}.jsonl`), transcript(...chain(10, 50)));
    const reports = await Promise.all([stage.import(folder), stage.import(folder), stage.import(folder)]);
    expect(reports.map(report => report.written.messages).sort((a, b) => a - b)).toEqual([0, 0, 40]);
    expect((await messagesOf(stage, id)).map(row => row.content)).toEqual(texts);
  });
});

describe('an import beside a writer', () => {
  it('waits for the lock and takes the positions that follow', async () => {
    const id = uuid(30);
    const folder = await stage.folder({ [`${id}.jsonl`]: transcript(header(id), ...chain(0, 2)) });
    await stage.import(folder);
    await appendFile(join(folder, `${id}.jsonl`), transcript(...chain(2, 4)));
    const writer = new pg.Client({ connectionString: stage.url });
    await writer.connect();
    await writer.query('begin');
    await writer.query('select from aria_engine.chat_sessions where id = $1 for no key update', [id]);
    const running = stage.import(folder);
    await waitUntil(
      async () =>
        (await stage.rows(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`)).length > 0,
    );
    await writer.query(
      `insert into aria_engine.chat_messages (session_id, position, id, role, content, parent_position) values ($1, 3, gen_random_uuid(), 'USER', 'live', 2)`,
      [id],
    );
    await writer.query(
      'update aria_engine.chat_session_activity set message_count = 3, next_position = 4, leaf_position = 3 where session_id = $1',
      [id],
    );
    await writer.query('commit');
    await writer.end();
    expect((await running).failures).toEqual([]);
    expect((await messagesOf(stage, id)).map(row => [row.position, row.content, row.parent, row.onBranch])).toEqual([
      [1, 'message 1', null, true],
      [2, 'message 2', 1, true],
      [3, 'live', 2, false],
      [4, 'message 3', 2, true],
      [5, 'message 4', 4, true],
    ]);
    expect(await sessionOf(stage, id)).toMatchObject({ message_count: 5, next_position: 6, leaf_position: 5 });
  });

  it('keeps the other sessions where one fails', async () => {
    const [good, bad] = [uuid(40), uuid(41)];
    const folder = await stage.folder({
      [`${bad}.jsonl`]: transcript(header(bad), message('a1', null, 'refuse me')),
      [`${good}.jsonl`]: transcript(header(good), message('a1', null, 'take me')),
    });
    await stage.rows(`alter table aria_engine.chat_messages add constraint refused check (content <> 'refuse me')`);
    const report = await stage.import(folder);
    expect(report.failures.map(failure => failure.name)).toEqual([`${bad}.jsonl`]);
    expect(await stage.rows('select from aria_engine.chat_sessions where id = $1', [bad])).toEqual([]);
    expect(await messagesOf(stage, good)).toHaveLength(1);
    await stage.rows('alter table aria_engine.chat_messages drop constraint refused');
    expect((await stage.import(folder)).written.sessionsCreated).toBe(1);
  });
});

/** Asks again until the answer is yes; the test's own time limit ends it. */
async function waitUntil(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(resolve => setImmediate(resolve));
}
