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

/** Starts an import, and lets a writer change a session that the import has looked at and waits for. */
async function importWhile(folder: string, sessionId: string, change: string, values: readonly unknown[] = [sessionId]) {
  const writer = new pg.Client({ connectionString: stage.url });
  await writer.connect();
  try {
    await writer.query('begin');
    await writer.query('select from aria_engine.chat_sessions where id = $1 for no key update', [sessionId]);
    const running = stage.import(folder);
    await waitUntilBlocked();
    await writer.query(change, [...values]);
    await writer.query('commit');
    return await running;
  } finally {
    await writer.end();
  }
}

describe('an import that gives a key to another session', () => {
  const key = (number: number) => `agent:main:telegram:direct:handed-${number}`;

  /** A session imported with this key, and then a source where another has it. */
  async function handOver(number: number) {
    const [holder, heir] = [uuid(number), uuid(number + 1)];
    const folder = await stage.folder({ 'sessions.json': { [key(number)]: { sessionId: holder, updatedAt: START } } });
    await stage.import(folder);
    await stage.write(folder, { 'sessions.json': { [key(number)]: { sessionId: heir, updatedAt: START + 1 } } });
    return { holder, heir, folder };
  }

  it('leaves the one that held it alone where that goes to the trash meanwhile', async () => {
    const { holder, heir, folder } = await handOver(60);
    const report = await importWhile(folder, holder, 'update aria_engine.chat_sessions set deleted_at = now() where id = $1');
    expect(report.failures).toEqual([]);
    expect(await sessionOf(stage, heir)).toMatchObject({ key: key(60) });
    expect(await sessionOf(stage, holder)).toMatchObject({ key: key(60), status: 'ACTIVE', superseded_at: null, version: 1 });
    expect(await eventsOf(stage, holder)).toEqual(['CREATED']);
  });

  it('forgets nothing another import has remembered of it meanwhile', async () => {
    const { holder, heir, folder } = await handOver(70);
    const remembered = { $transcript: '7:digest:0' };
    const report = await importWhile(
      folder,
      holder,
      'update aria_engine.import_sources set field_hashes = field_hashes || $2::jsonb where session_id = $1',
      [holder, JSON.stringify(remembered)],
    );
    expect(report.failures).toEqual([]);
    expect(await sessionOf(stage, heir)).toMatchObject({ key: key(70) });
    expect(await sessionOf(stage, holder)).toMatchObject({ status: 'ENDED', status_reason: 'reset', version: 2 });
    const [source] = await stage.rows<{ hashes: object }>(
      'select field_hashes as hashes from aria_engine.import_sources where session_id = $1',
      [holder],
    );
    expect(source?.hashes).toMatchObject({ ...remembered, $superseded: 'import' });
  });
});

describe('an import beside a writer', () => {
  it('never sets updatedAt back', async () => {
    const id = uuid(80);
    const folder = await stage.folder({ [`${id}.jsonl`]: transcript(header(id), ...chain(0, 2)) });
    await stage.import(folder);
    await appendFile(join(folder, `${id}.jsonl`), transcript(...chain(2, 4)));
    const later = new Date(Date.now() + 60_000);
    const change = 'update aria_engine.chat_session_activity set updated_at = $2 where session_id = $1';
    expect((await importWhile(folder, id, change, [id, later])).failures).toEqual([]);
    expect(await sessionOf(stage, id)).toMatchObject({ message_count: 4, updated_at: later });
  });

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
    await waitUntilBlocked();
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

/** Ends once a statement waits for a lock; the test's own time limit ends it otherwise. */
async function waitUntilBlocked(): Promise<void> {
  const blocked = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  while ((await stage.rows(blocked)).length === 0) await new Promise(resolve => setImmediate(resolve));
}
