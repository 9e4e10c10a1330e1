import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { openOpenClaw } from '../../src/import/openclaw/openclaw-source.ts';
import { type ImportReport, ImportReportBuilder } from '../../src/import/report.ts';
import { runImport } from '../../src/import/run.ts';
import { createLog } from '../../src/log.ts';
import { createTestDatabase } from '../support/database.ts';

/** A line of a transcript: an object to write as JSON, or the text itself. */
export type Line = object | string;

/** 2026-02-10T09:00:00Z in milliseconds: the start of the generated sessions. */
export const START = Date.UTC(2026, 1, 10, 9);

/** The time this many seconds after START, in the format of transcripts. */
export function at(seconds: number): string {
  return new Date(START + seconds * 1_000).toISOString();
}

/** The header line of a transcript of version 3. */
export function header(id: string, more: object = {}): object {
  return { type: 'session', version: 3, id, timestamp: at(0), cwd: '/srv/work', ...more };
}

/** The line of a message; its role is user by default. */
export function message(id: string, parentId: string | null, text: string, more: object = {}): object {
  const second = Number.parseInt(id.replace(/\D/g, ''), 10) || 1;
  const role = 'role' in more ? more.role : 'user';
  return { type: 'message', id, parentId, timestamp: at(second), message: { role, content: [{ type: 'text', text }], ...more } };
}

/** The text of a transcript. Every line ends with a newline. */
export function transcript(...lines: readonly Line[]): string {
  return lines.map(line => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('');
}

/** A UUID that ends with the given number. */
export function uuid(number: number): string {
  return `7c1f0c1e-0000-4000-8000-${String(number).padStart(12, '0')}`;
}

/** A new database, and temporary folders to import into it. */
export interface ImportFixture {
  readonly url: string;
  /** Creates a temporary folder with these files. */
  createFolder(files: Readonly<Record<string, string | object>>): Promise<string>;
  /** Writes files into a folder; objects are written as JSON. */
  write(folder: string, files: Readonly<Record<string, string | object>>): Promise<void>;
  import(path: string, options?: { readonly agentId?: string; readonly dryRun?: boolean }): Promise<ImportReport>;
  /** Runs one statement and returns its rows. */
  rows<Row extends object>(statement: string, values?: readonly unknown[]): Promise<Row[]>;
  close(): Promise<void>;
}

/** Creates the database. The caller must close the fixture. */
export async function openImportFixture(): Promise<ImportFixture> {
  const database = await createTestDatabase();
  const pool = new pg.Pool({ connectionString: database.url, max: 4 });
  // Dropping the database ends the pool's idle connections with errors. Without a listener they would crash the process.
  pool.on('error', () => undefined);
  const folders: string[] = [];
  const write = async (folder: string, files: Readonly<Record<string, string | object>>) => {
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
    }
  };
  return {
    url: database.url,
    write,
    async createFolder(files) {
      const folder = await mkdtemp(join(tmpdir(), 'sessiongraph-import-'));
      folders.push(folder);
      await write(folder, files);
      return folder;
    },
    import: (path, { agentId = null, dryRun = false } = {}) => importOpenClaw(database.url, path, agentId, dryRun),
    async rows<Row extends object>(statement: string, values: readonly unknown[] = []) {
      return (await pool.query<Row>(statement, [...values])).rows;
    },
    async close() {
      await pool.end();
      await database.close();
      for (const folder of folders) await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Imports OpenClaw sessions as the command does. */
export async function importOpenClaw(
  databaseUrl: string,
  path: string,
  agentId: string | null = null,
  dryRun = false,
): Promise<ImportReport> {
  const rules = { defaultAgent: 'main', mainKey: 'main' };
  const report = new ImportReportBuilder(path, dryRun);
  const source = await openOpenClaw({ path, agentId, rules }, report);
  return runImport({ source, report, rules, stalledAfterMs: 300_000, databaseUrl, log: createLog('silent') });
}

/** The columns of a message that the tests compare. */
export interface MessageRow {
  readonly position: number;
  readonly externalId: string;
  readonly role: string;
  readonly content: string;
  readonly parent: number | null;
  readonly onBranch: boolean;
}

/** Reads the messages of a session, by position. */
export function readMessages(fixture: ImportFixture, sessionId: string): Promise<MessageRow[]> {
  return fixture.rows<MessageRow>(
    `select position::int, external_id as "externalId", role::text, content, parent_position::int as parent, on_branch as "onBranch"
     from aria_engine.chat_messages where session_id = $1 order by position`,
    [sessionId],
  );
}

/** Reads a session and its activity, as an object of columns. */
export async function readSession(fixture: ImportFixture, sessionId: string): Promise<Readonly<Record<string, unknown>>> {
  const [row] = await fixture.rows<Record<string, unknown>>(
    `select a.*, s.*, s.compacted_through::int, a.leaf_position::int, a.next_position::int, a.total_tokens::int, a.input_tokens::int,
       a.output_tokens::int, a.context_used::int
     from aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id where s.id = $1`,
    [sessionId],
  );
  if (row === undefined) throw new Error(`There is no session ${sessionId}.`);
  return row;
}

/** Reads the types of a session's events, in order. */
export async function readEventTypes(fixture: ImportFixture, sessionId: string): Promise<string[]> {
  const rows = await fixture.rows<{ type: string }>('select type::text from aria_engine.session_events where session_id = $1 order by id', [
    sessionId,
  ]);
  return rows.map(row => row.type);
}
