import { describe, expect, it } from 'vitest';
import { walkUnderWrites } from '../api/paging/walk-under-writes.ts';
import { startTestApp } from '../support/app.ts';

describe('paging through 5,000 sessions while others insert, update and delete', () => {
  it.each([11, 12, 13])('returns no session twice and misses none that existed throughout (seed %i)', async seed => {
    const app = await startTestApp();
    for (const pageSize of [20, 100]) {
      const walks = await walkUnderWrites(app, { seed: seed * 100 + pageSize, sessions: 5_000, pageSize, writers: 4 });
      for (const { name, missed, repeated } of walks) expect({ name, missed, repeated }).toEqual({ name, missed: [], repeated: [] });
      expect(walks.every(({ pages, writes }) => pages >= 4_000 / pageSize && writes > 10)).toBe(true);
    }
    await app.close();
  });
});
