import { execFile } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ImportReport } from '../../src/import/report.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { at, header, message, START, transcript, uuid } from './openclaw-folder.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

let database: TestDatabase;
let folder: string;

beforeAll(async () => {
  database = await createTestDatabase({ empty: true });
  folder = await mkdtemp(join(tmpdir(), 'sessiongraph-import-'));
});
afterAll(async () => {
  await database.close();
  await rm(folder, { recursive: true, force: true });
});

interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command in a separate process, as npm does. */
function runCommand(args: readonly string[], nodeOptions: readonly string[] = []): Promise<CommandResult> {
  return new Promise(resolve => {
    const script = [...nodeOptions, '--import', 'tsx', 'scripts/import-openclaw.ts', ...args];
    const env = { ...process.env, DATABASE_URL: database.url, LOG_LEVEL: 'silent' };
    const child = execFile(process.execPath, script, { cwd: root, env }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

async function writeLines(name: string, lines: Iterable<object>): Promise<string> {
  const path = join(folder, name);
  const texts = function* () {
    for (const line of lines) yield transcript(line);
  };
  await pipeline(Readable.from(texts()), createWriteStream(path));
  return path;
}

const SENTENCE = 'The agent looks around, finds a file and writes down what stands in it. ';

/** About 50 MB: long lines that are not messages, and short lines that are. */
function* largeTranscript(id: string): Generator<object> {
  yield header(id);
  for (let number = 1; number <= 2_000; number++) {
    yield {
      type: 'custom',
      id: `c${number}`,
      parentId: number === 1 ? null : `m${2 * number - 2}`,
      timestamp: at(number),
      data: SENTENCE.repeat(345),
    };
    yield message(`m${2 * number - 1}`, `c${number}`, `question ${number}`);
    yield message(`m${2 * number}`, `m${2 * number - 1}`, `answer ${number}`, { role: 'assistant' });
  }
}

describe('npm run import:openclaw', () => {
  it('imports a transcript of 50 MB with a heap of 40 MB', async () => {
    const path = await writeLines(`${uuid(1)}.jsonl`, largeTranscript(uuid(1)));
    const { code, stdout, stderr } = await runCommand([path, '--json'], ['--max-old-space-size=40']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const report: ImportReport = JSON.parse(stdout);
    expect(report.written).toEqual({ sessionsCreated: 1, sessionsUpdated: 0, messages: 4_000, lines: 6_001 });
  });

  it('prints a readable summary without --json', async () => {
    const path = await writeLines(`${uuid(2)}.jsonl`, [header(uuid(2)), message('a1', 'gone', 'hello')]);
    const { code, stdout } = await runCommand([path, '--agent', 'work']);
    expect(code).toBe(0);
    expect(stdout).toContain('new sessions: 1, changed sessions: 0, messages: 1, lines: 2');
    expect(stdout).toContain(`${uuid(2)}.jsonl:2: missing parent (gone)`);
  });

  it('prints the reason and exits with code 1 if it cannot import', async () => {
    const store = await writeLines('sessions.json', [{ 'agent:main:main': { sessionId: uuid(3), updatedAt: START } }, {}]);
    const broken = await runCommand([store]);
    expect(broken.code).toBe(1);
    expect(broken.stdout).toContain('Failed     sessions.json');
    const nothing = await runCommand([join(folder, 'nowhere')]);
    expect(nothing).toMatchObject({ code: 1, stdout: '' });
    expect(nothing.stderr).toContain('There is no file or folder');
    const usage = await runCommand(['--wrong']);
    expect(usage.code).toBe(1);
    expect(usage.stderr).toBe("Unknown option '--wrong'. See: npm run import:openclaw -- --help\n");
  });
});
