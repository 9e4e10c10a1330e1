import { serverAudits } from 'graphql-http';
import { beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});

describe('the audits of graphql-http', () => {
  const audits = serverAudits({ url: () => app.url, fetchFn: fetch });

  it('are all there', () => {
    expect(audits).toHaveLength(61);
  });

  for (const audit of audits) {
    it(audit.name, async () => {
      expect(await audit.fn()).toMatchObject({ status: 'ok' });
    });
  }
});
