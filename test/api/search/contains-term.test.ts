import { beforeAll, describe, expect, it } from 'vitest';
import { createRandomSource } from '../../../scripts/seed/random-source.ts';
import { Prisma } from '../../../src/generated/prisma/client.ts';
import { containsTerm, containsText } from '../../../src/modules/text/text.sql.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { runSql } from '../../support/sql.ts';

/** Characters whose lower case is longer, ASCII, depends on the place, or is a pattern character. */
const CHARACTERS: readonly [string, ...string[]] = ['a', ...'bkKiIsS%_\\\n\u212Aİıßẞſςσ\u03A3\u212BÄäДд今🎉\u0307'];

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});

describe('containsTerm', () => {
  it('is true for exactly the texts for which containsText is true', async () => {
    const random = createRandomSource(5, 7);
    const word = (length: number) => Array.from({ length }, () => random.pick(CHARACTERS)).join('');
    const texts = [...Array.from({ length: 600 }, () => word(random.integer(0, 8))), ...CHARACTERS, 'ΟΔΟΣ ODOS kK', ''];
    const terms = [...Array.from({ length: 60 }, () => word(random.integer(1, 2))), ...CHARACTERS, ''];
    let matches = 0;
    for (const term of terms) {
      const column = Prisma.raw('t');
      const { text, values } = Prisma.sql`select t, ${containsText(column, term)} as expected, ${containsTerm(column, term)} as actual
        from unnest(${[...texts, null]}::text[]) t`;
      const rows = await runSql<{ t: string; expected: boolean | null; actual: boolean | null }>(app.databaseUrl, text, values);
      expect(rows.filter(row => row.actual !== row.expected).map(row => [row.t, term])).toEqual([]);
      matches += rows.filter(row => row.expected === true).length;
    }
    expect(matches).toBeGreaterThan(terms.length);
  });
});
