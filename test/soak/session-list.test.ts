import { describe, expect, it } from 'vitest';
import { runLiveLists } from '../api/session-list/live-lists-under-writes.ts';
import { startTestApp } from '../support/app.ts';

describe('live lists', () => {
  it.each([
    [21, 1],
    [22, 2],
    [23, 4],
    [24, 8],
    [25, 16],
    [26, 8],
  ])('equal the result of the query after 1,000 random mutations (seed %i, %i writers)', async (seed, writers) => {
    const app = await startTestApp();
    expect(await runLiveLists(app, { seed, mutations: 1_000, rounds: 20, writers })).toBeGreaterThan(100);
    await app.close();
  });
});
