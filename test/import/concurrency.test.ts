import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { WAIT_OPTIONS } from '../support/wait-time.ts';
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

beforeAll(async () => {
  fixture = await openImportFixture();
});
afterAll(() => fixture.close());

const texts = Array.from({ length: 50 }, (_, index) => `message ${index + 1}`);

const chain = (from: number, to: number) =>
  texts.slice(from, to).map((text, index) => message(`a${from + index + 1}`, from + index === 0 ? null : `a${from + index}`, text));

describe('concurrent imports', () => {
  it('of one folder write every session and message once', async () => {
    const ids = Array.from({ length: 8 }, (_, index) => uuid(index + 1));
    const store = Object.fromEntries(
      ids.map((id, index) => [`agent:main:telegram:direct:${index}`, { sessionId: id, updatedAt: START, label: `l${index}` }]),
    );
    const files = Object.fromEntries(ids.map(id => [`${id}.jsonl`, transcript(header(id), ...chain(0, 50))]));
    const folder = await fixture.createFolder({ 'sessions.json': store, ...files });
    const reports = await Promise.all([fixture.import(folder), fixture.import(folder), fixture.import(folder)]);
    expect(reports.flatMap(report => report.failures)).toEqual([]);
    expect(reports.reduce((sum, report) => sum + report.written.sessionsCreated, 0)).toBe(8);
    expect(reports.reduce((sum, report) => sum + report.written.messages, 0)).toBe(400);
    for (const id of ids) {
      expect((await readMessages(fixture, id)).map(row => row.content)).toEqual(texts);
      expect(await readSession(fixture, id)).toMatchObject({ message_count: 50, next_position: 51 });
      expect(await readEventTypes(fixture, id)).toEqual(['CREATED']);
    }
  });

  it('of a transcript that grew write its new lines once', async () => {
    const id = uuid(20);
    const folder = await fixture.createFolder({ [`${id}.jsonl`]: transcript(header(id), ...chain(0, 10)) });
    await fixture.import(folder);
    await appendFile(join(folder, `${id}.jsonl`), transcript(...chain(10, 50)));
    const reports = await Promise.all([fixture.import(folder), fixture.import(folder), fixture.import(folder)]);
    expect(reports.map(report => report.written.messages).sort((a, b) => a - b)).toEqual([0, 0, 40]);
    expect((await readMessages(fixture, id)).map(row => row.content)).toEqual(texts);
  });
});

/** Starts an import. While the import waits for the session's lock, runs `change` and commits it. Returns the import's report. */
async function importWhile(folder: string, sessionId: string, change: string, values: readonly unknown[] = [sessionId]) {
  const writer = new pg.Client({ connectionString: fixture.url });
  await writer.connect();
  try {
    await writer.query('begin');
    await writer.query('select from aria_engine.chat_sessions where id = $1 for no key update', [sessionId]);
    const running = fixture.import(folder);
    await waitUntilBlocked();
    await writer.query(change, [...values]);
    await writer.query('commit');
    return await running;
  } finally {
    await writer.end();
  }
}

describe('an import that moves a key to another session', () => {
  const key = (number: number) => `agent:main:telegram:direct:moved-${number}`;

  /** Imports a session with a key, and then changes the source so that another session has the key. */
  async function moveKey(number: number) {
    const [oldSession, newSession] = [uuid(number), uuid(number + 1)];
    const folder = await fixture.createFolder({ 'sessions.json': { [key(number)]: { sessionId: oldSession, updatedAt: START } } });
    await fixture.import(folder);
    await fixture.write(folder, { 'sessions.json': { [key(number)]: { sessionId: newSession, updatedAt: START + 1 } } });
    return { oldSession, newSession, folder };
  }

  it('does not change the old session if that is moved to the trash meanwhile', async () => {
    const { oldSession, newSession, folder } = await moveKey(60);
    const report = await importWhile(folder, oldSession, 'update aria_engine.chat_sessions set deleted_at = now() where id = $1');
    expect(report.failures).toEqual([]);
    expect(await readSession(fixture, newSession)).toMatchObject({ key: key(60) });
    expect(await readSession(fixture, oldSession)).toMatchObject({ key: key(60), status: 'ACTIVE', superseded_at: null, version: 1 });
    expect(await readEventTypes(fixture, oldSession)).toEqual(['CREATED']);
  });

  it('keeps the field hashes of the old session that another import stored meanwhile', async () => {
    const { oldSession, newSession, folder } = await moveKey(70);
    const storedMeanwhile = { $transcript: '7:digest:0' };
    const report = await importWhile(
      folder,
      oldSession,
      'update aria_engine.import_sources set field_hashes = field_hashes || $2::jsonb where session_id = $1',
      [oldSession, JSON.stringify(storedMeanwhile)],
    );
    expect(report.failures).toEqual([]);
    expect(await readSession(fixture, newSession)).toMatchObject({ key: key(70) });
    expect(await readSession(fixture, oldSession)).toMatchObject({ status: 'ENDED', status_reason: 'reset', version: 2 });
    const [source] = await fixture.rows<{ hashes: object }>(
      'select field_hashes as hashes from aria_engine.import_sources where session_id = $1',
      [oldSession],
    );
    expect(source?.hashes).toMatchObject({ ...storedMeanwhile, $superseded: 'import' });
  });
});

describe('an import with a concurrent writer', () => {
  it('does not set updatedAt to an earlier time', async () => {
    const id = uuid(80);
    const folder = await fixture.createFolder({ [`${id}.jsonl`]: transcript(header(id), ...chain(0, 2)) });
    await fixture.import(folder);
    await appendFile(join(folder, `${id}.jsonl`), transcript(...chain(2, 4)));
    const later = new Date(Date.now() + 60_000);
    const change = 'update aria_engine.chat_session_activity set updated_at = $2 where session_id = $1';
    expect((await importWhile(folder, id, change, [id, later])).failures).toEqual([]);
    expect(await readSession(fixture, id)).toMatchObject({ message_count: 4, updated_at: later });
  });

  it('waits for the session lock and gives its messages the next positions', async () => {
    const id = uuid(30);
    const folder = await fixture.createFolder({ [`${id}.jsonl`]: transcript(header(id), ...chain(0, 2)) });
    await fixture.import(folder);
    await appendFile(join(folder, `${id}.jsonl`), transcript(...chain(2, 4)));
    const writer = new pg.Client({ connectionString: fixture.url });
    await writer.connect();
    await writer.query('begin');
    await writer.query('select from aria_engine.chat_sessions where id = $1 for no key update', [id]);
    const running = fixture.import(folder);
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
    expect((await readMessages(fixture, id)).map(row => [row.position, row.content, row.parent, row.onBranch])).toEqual([
      [1, 'message 1', null, true],
      [2, 'message 2', 1, true],
      [3, 'live', 2, false],
      [4, 'message 3', 2, true],
      [5, 'message 4', 4, true],
    ]);
    expect(await readSession(fixture, id)).toMatchObject({ message_count: 5, next_position: 6, leaf_position: 5 });
  });
});

describe('an import in which one session fails', () => {
  it('imports the other sessions and can be repeated', async () => {
    const [good, bad] = [uuid(40), uuid(41)];
    const folder = await fixture.createFolder({
      [`${bad}.jsonl`]: transcript(header(bad), message('a1', null, 'rejected')),
      [`${good}.jsonl`]: transcript(header(good), message('a1', null, 'accepted')),
    });
    await fixture.rows(`alter table aria_engine.chat_messages add constraint not_rejected check (content <> 'rejected')`);
    const report = await fixture.import(folder);
    expect(report.failures.map(failure => failure.name)).toEqual([`${bad}.jsonl`]);
    expect(await fixture.rows('select from aria_engine.chat_sessions where id = $1', [bad])).toEqual([]);
    expect(await readMessages(fixture, good)).toHaveLength(1);
    await fixture.rows('alter table aria_engine.chat_messages drop constraint not_rejected');
    expect((await fixture.import(folder)).written.sessionsCreated).toBe(1);
  });
});

/** Waits until a statement waits for a lock. */
async function waitUntilBlocked(): Promise<void> {
  const blocked = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  await vi.waitUntil(async () => (await fixture.rows(blocked)).length > 0, WAIT_OPTIONS);
}
