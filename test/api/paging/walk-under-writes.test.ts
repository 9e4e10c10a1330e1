import { describe, expect, it } from 'vitest';
import { startTestApp } from '../../support/app.ts';
import { walkUnderWrites } from './walk-under-writes.ts';

describe('pages walked while others insert, update and delete', () => {
  it.each([1, 2])('show no row twice and miss none that stood throughout (seed %i)', async seed => {
    const app = await startTestApp();
    const walks = await walkUnderWrites(app, { seed, sessions: 400, pageSize: 12, writers: 2 });
    for (const { name, missed, twice } of walks) expect({ name, missed, twice }).toEqual({ name, missed: [], twice: [] });
    // Else it would show nothing.
    expect(walks.reduce((sum, { writes }) => sum + writes, 0)).toBeGreaterThan(100);
    expect(Math.min(...walks.map(({ stood }) => stood))).toBeGreaterThan(20);
    await app.close();
  });
});
