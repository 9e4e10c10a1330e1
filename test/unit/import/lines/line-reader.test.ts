import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readLines } from '../../../../src/import/lines/line-reader.ts';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sessiongraph-lines-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function linesOf(content: string, maxBytes?: number) {
  const path = join(folder, 'lines');
  await writeFile(path, content);
  const lines = [];
  for await (const { line, bytes, closed } of readLines(path, maxBytes)) lines.push([line, bytes?.toString() ?? null, closed]);
  return lines;
}

describe('readLines', () => {
  it.each([
    ['', []],
    ['a', [[1, 'a', false]]],
    ['a\n', [[1, 'a', true]]],
    [
      'a\n\nb\r\n',
      [
        [1, 'a', true],
        [2, '', true],
        [3, 'b\r', true],
      ],
    ],
  ])('reads %j', async (content, lines) => {
    expect(await linesOf(content)).toEqual(lines);
  });

  it('joins a line that spans several chunks of the file, even if a chunk ends within a character', async () => {
    const long = 'ä€😀'.repeat(200_000);
    expect(await linesOf(`x\n${long}\ny`)).toEqual([
      [1, 'x', true],
      [2, long, true],
      [3, 'y', false],
    ]);
  });

  it('returns null for a line that is too long, and continues after it', async () => {
    expect(await linesOf(`ok\n${'x'.repeat(600_000)}\nok`, 1_000)).toEqual([
      [1, 'ok', true],
      [2, null, true],
      [3, 'ok', false],
    ]);
  });
});
