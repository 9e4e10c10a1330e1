import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ROOT, readPages } from './markdown.ts';

/** Where a code block of docs/contributing.md belongs: before a line of a file, at its end, in place of some text, or in a new file. */
interface Insertion {
  readonly file: string;
  readonly before?: string;
  readonly insteadOf?: RegExp;
  /** Imports that the block needs and does not show. */
  readonly imports?: string;
}

const MUTATION = 'src/modules/session-mutation';
const IMPORT_INPUT = "import type { FlagSessionInput } from './session-mutation.input.ts';\n";

/** The insertions of the `ts` blocks, in the order of the page. */
const INSERTIONS: readonly Insertion[] = [
  { file: 'src/modules/session/session.columns.ts', before: '  workspace: ' },
  { file: 'src/modules/session/session.schema.ts', before: '    workspace: ' },
  { file: `${MUTATION}/session-input.schema.ts`, before: '    workspace: ' },
  { file: 'src/modules/session-filter/session-filter.schema.ts', before: '    workspace: ' },
  { file: `${MUTATION}/session-mutation.input.ts` },
  { file: `${MUTATION}/session-update.service.ts`, imports: IMPORT_INPUT },
  { file: `${MUTATION}/session-flag.service.ts` },
  { file: `${MUTATION}/session-input.schema.ts`, imports: IMPORT_INPUT },
  {
    file: `${MUTATION}/session-mutation.schema.ts`,
    before: '  endSession: t.field',
    imports:
      "import { flagSession } from './session-flag.service.ts';\nimport { FlagSessionInputType } from './session-input.schema.ts';\n",
  },
  { file: 'src/events/event-types.ts', before: "  eventType('RESTORED'" },
  { file: 'src/modules/event/event.schema.ts', before: '  RESTORED: eventObject' },
  { file: `${MUTATION}/session-flag.service.ts`, insteadOf: /const events: TypedEvent\[\] = .*;/ },
];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sessiongraph-examples-'));
  await cp(join(ROOT, 'src'), join(folder, 'src'), { recursive: true });
  await cp(join(ROOT, 'package.json'), join(folder, 'package.json'));
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const { compilerOptions } = JSON.parse(await readFile(join(ROOT, 'tsconfig.json'), 'utf8'));
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['src'] }));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function insert(block: string, { file, before, insteadOf, imports = '' }: Insertion): Promise<void> {
  const path = join(folder, file);
  const text = await readFile(path, 'utf8').catch(() => '');
  const place = insteadOf ?? before ?? /$/;
  const changed = text.replace(place, () => (insteadOf === undefined ? `\n${block}\n${before ?? ''}` : block));
  if (changed === text) throw new Error(`${file} does not contain ${place}.`);
  await writeFile(path, imports + changed);
}

/** Runs the compiler in the folder and returns its messages. */
function compile(): Promise<string> {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  return new Promise(resolve => {
    execFile(process.execPath, [tsc, '-p', folder], { cwd: folder }, (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}

it('the code of docs/contributing.md compiles together', async () => {
  const page = (await readPages()).find(({ path }) => path === 'docs/contributing.md');
  const blocks = (page?.blocks ?? []).filter(({ language }) => language === 'ts');
  expect(blocks.length).toBe(INSERTIONS.length);
  for (const [index, insertion] of INSERTIONS.entries()) await insert(blocks[index]?.text ?? '', insertion);
  // What `prisma generate` does with the new value of the enum.
  await insert("FLAGGED: 'FLAGGED',", { file: 'src/generated/prisma/enums.ts', before: "  RESTORED: 'RESTORED'" });
  expect(await compile()).toBe('');
}, 60_000);
