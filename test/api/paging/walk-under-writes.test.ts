import { describe, expect, it } from 'vitest';
import { startTestApp } from '../../support/app.ts';
import { walkUnderWrites } from './walk-under-writes.ts';

describe('pages of sessions during inserts, updates and deletions', () => {
  it.each([1, 2])('show each unchanged session exactly once (seed %i)', async seed => {
    const app = await startTestApp();
    const walks = await walkUnderWrites(app, { seed, sessions: 400, pageSize: 12, writers: 2 });
    for (const { name, missed, repeated } of walks) expect({ name, missed, repeated }).toEqual({ name, missed: [], repeated: [] });
    // With fewer writes or fewer unchanged sessions the test would prove nothing.
    expect(walks.reduce((sum, { writes }) => sum + writes, 0)).toBeGreaterThan(100);
    expect(Math.min(...walks.map(({ unchanged }) => unchanged))).toBeGreaterThan(20);
    await app.close();
  });
});
