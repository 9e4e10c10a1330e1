import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRandomSource, type RandomSource } from '../../scripts/seed/random-source.ts';
import { at, header, type ImportFixture, openImportFixture, readSession, uuid } from './openclaw-folder.ts';

let atOnce: ImportFixture;
let inPieces: ImportFixture;

beforeAll(async () => {
  [atOnce, inPieces] = await Promise.all([openImportFixture(), openImportFixture()]);
});
afterAll(() => Promise.all([atOnce.close(), inPieces.close()]));

/** A random transcript with branches, compactions, lines that are not messages, malformed lines, missing parents and duplicate ids. */
function randomTranscript(id: string, random: RandomSource): string {
  const pick = <Item>(items: readonly Item[]) => items[Math.floor(random.fraction() * items.length)];
  const lines = [JSON.stringify(header(id))];
  const ids: string[] = [];
  for (let number = 1; number <= 60; number++) {
    const kind = random.fraction();
    const entryId = random.fraction() < 0.05 ? pick(ids) : `e${number}`;
    const parentId = random.fraction() < 0.8 ? (ids.at(-1) ?? null) : random.fraction() < 0.1 ? 'gone' : (pick(ids) ?? null);
    const entry = {
      ...(random.fraction() < 0.05 ? {} : { id: entryId }),
      ...(random.fraction() < 0.1 ? {} : { parentId }),
      timestamp: at(number),
    };
    const usage = random.fraction() < 0.3 ? { input: number, output: 1 } : undefined;
    if (kind < 0.04) lines.push('{"broken":');
    else if (kind < 0.07) lines.push('');
    else if (kind < 0.2) lines.push(JSON.stringify({ type: 'custom', ...entry }));
    else if (kind < 0.27) lines.push(JSON.stringify({ type: 'compaction', ...entry, summary: `s${number}`, firstKeptEntryId: pick(ids) }));
    else
      lines.push(
        JSON.stringify({ type: 'message', ...entry, message: { role: pick(['user', 'assistant']), content: `text ${number}`, usage } }),
      );
    if (kind >= 0.07 && entryId !== undefined) ids.push(entryId);
  }
  return `${lines.join('\n')}\n`;
}

async function readImported(fixture: ImportFixture, id: string) {
  const messages = await fixture.rows(
    `select id, position::int, external_id, role, content, parent_position::int, on_branch, metadata, created_at, total_tokens
     from aria_engine.chat_messages where session_id = $1 order by position`,
    [id],
  );
  const lines = await fixture.rows(
    'select line, entry_id, parent_entry_id, position, raw from aria_engine.import_lines where session_id = $1 order by line',
    [id],
  );
  const session = await readSession(fixture, id);
  const {
    title,
    status,
    ended_at,
    compacted_through,
    compaction_count,
    message_count,
    next_position,
    leaf_position,
    total_tokens,
    last_message_at,
  } = session;
  const counters = { message_count, next_position, leaf_position, total_tokens, last_message_at };
  return { messages, lines, title, status, ended_at, compacted_through, compaction_count, ...counters };
}

describe('a transcript imported piece by piece', () => {
  it('gives the same result as when imported at once, wherever the pieces end', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = createRandomSource(seed, 0);
      const id = uuid(seed);
      const text = randomTranscript(id, random);
      expect((await atOnce.import(await atOnce.createFolder({ [`${id}.jsonl`]: text }))).failures).toEqual([]);
      const folder = await inPieces.createFolder({ [`${id}.jsonl`]: '' });
      for (let start = 0; start < text.length; ) {
        const end = start + 1 + Math.floor(random.fraction() * 2_500);
        await appendFile(join(folder, `${id}.jsonl`), text.slice(start, end));
        expect((await inPieces.import(folder)).failures).toEqual([]);
        start = end;
      }
      expect(await readImported(inPieces, id), `seed ${seed}`).toEqual(await readImported(atOnce, id));
      expect((await inPieces.import(folder)).sessionsUnchanged).toBe(1);
    }
  });
});
