import { beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { runLiveLists } from './live-lists-under-writes.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});

describe('sessionList during random mutations', () => {
  it('keeps 16 lists equal to the query at five points of 1,000 random mutations by eight writers', async () => {
    expect(await runLiveLists(app, { seed: 1, mutations: 1_000, rounds: 5, writers: 8 })).toBeGreaterThan(100);
  }, 300_000);
});
