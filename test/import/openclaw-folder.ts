import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { openOpenClaw } from '../../src/import/openclaw/openclaw-source.ts';
import { type ImportReport, ImportReportBuilder } from '../../src/import/report.ts';
import { runImport } from '../../src/import/run.ts';
import { createLog } from '../../src/log.ts';
import { createTestDatabase } from '../support/database.ts';

/** A line of a transcript: an object, or text as it shall stand. */
export type Line = object | string;

/** Milliseconds of 2026-02-10T09:00:00Z, where the made-up sessions begin. */
export const START = Date.UTC(2026, 1, 10, 9);

/** The time so many seconds after START, as transcripts write it. */
export function at(seconds: number): string {
  return new Date(START + seconds * 1_000).toISOString();
}

/** A header of version 3. */
export function header(id: string, more: object = {}): object {
  return { type: 'session', version: 3, id, timestamp: at(0), cwd: '/srv/work', ...more };
}

/** A message of a user or an assistant. */
export function message(id: string, parentId: string | null, text: string, more: object = {}): object {
  const second = Number.parseInt(id.replace(/\D/g, ''), 10) || 1;
  const role = 'role' in more ? more.role : 'user';
  return { type: 'message', id, parentId, timestamp: at(second), message: { role, content: [{ type: 'text', text }], ...more } };
}

/** A transcript's text, each line closed. */
export function transcript(...lines: readonly Line[]): string {
  return lines.map(line => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join('');
}

/** A UUID that says which it is. */
export function uuid(number: number): string {
  return `7c1f0c1e-0000-4000-8000-${String(number).padStart(12, '0')}`;
}

/** A database of its own and folders to import into it. */
export interface ImportStage {
  readonly url: string;
  /** Makes a folder with these files. */
  folder(files: Readonly<Record<string, string | object>>): Promise<string>;
  write(folder: string, files: Readonly<Record<string, string | object>>): Promise<void>;
  import(path: string, options?: { readonly agentId?: string; readonly dryRun?: boolean }): Promise<ImportReport>;
  /** Runs one statement and gives its rows. */
  rows<Row extends object>(statement: string, values?: readonly unknown[]): Promise<Row[]>;
  close(): Promise<void>;
}

/** Opens a stage; close it when the tests are done. */
export async function openStage(): Promise<ImportStage> {
  const database = await createTestDatabase();
  const pool = new pg.Pool({ connectionString: database.url, max: 4 });
  // The database may be dropped before the last connection has said goodbye.
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
    async folder(files) {
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

/** A message as the tests look at it. */
export interface ShownMessage {
  readonly position: number;
  readonly externalId: string;
  readonly role: string;
  readonly content: string;
  readonly parent: number | null;
  readonly onBranch: boolean;
}

/** The messages of a session, in order. */
export function messagesOf(stage: ImportStage, sessionId: string): Promise<ShownMessage[]> {
  return stage.rows<ShownMessage>(
    `select position::int, external_id as "externalId", role::text, content, parent_position::int as parent, on_branch as "onBranch"
     from aria_engine.chat_messages where session_id = $1 order by position`,
    [sessionId],
  );
}

/** The session with its activity, by the names of the columns. */
export async function sessionOf(stage: ImportStage, sessionId: string): Promise<Readonly<Record<string, unknown>>> {
  const [row] = await stage.rows<Record<string, unknown>>(
    `select a.*, s.*, s.compacted_through::int, a.leaf_position::int, a.next_position::int, a.total_tokens::int, a.input_tokens::int,
       a.output_tokens::int, a.context_used::int
     from aria_engine.chat_sessions s join aria_engine.chat_session_activity a on a.session_id = s.id where s.id = $1`,
    [sessionId],
  );
  if (row === undefined) throw new Error(`There is no session ${sessionId}.`);
  return row;
}

/** The types of a session's events, in order. */
export async function eventsOf(stage: ImportStage, sessionId: string): Promise<string[]> {
  const rows = await stage.rows<{ type: string }>('select type::text from aria_engine.session_events where session_id = $1 order by id', [
    sessionId,
  ]);
  return rows.map(row => row.type);
}
