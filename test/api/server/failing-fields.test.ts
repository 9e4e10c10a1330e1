import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/app.ts';

describe('an operation with a failing field', () => {
  let app: TestApp;

  beforeAll(async () => {
    app = await startTestApp();
  });
  afterAll(() => app?.close());

  it('returns the data of the other query fields, and null with one error for the failing one', async () => {
    const response = await app.gql('{ ok: serverInfo { version } bad: sessions(first: 101) { totalCount } }');
    expect(response.data).toEqual({ ok: { version: expect.any(String) }, bad: null });
    expect(response.errors).toHaveLength(1);
    expect(response.errors?.[0]).toMatchObject({ path: ['bad'], extensions: { code: 'PAGE_SIZE_TOO_LARGE' } });
  });

  it('returns the payload of a mutation when a later one fails, and runs those behind it', async () => {
    const response = await app.gql(`mutation {
      first: createSession(input: { title: "First" }) { session { title } }
      second: endSession(input: { id: "unknown" }) { session { title } }
      third: createSession(input: { title: "Third" }) { session { title } }
    }`);
    expect(response.data).toEqual({ first: { session: { title: 'First' } }, second: null, third: { session: { title: 'Third' } } });
    expect(response.errors).toHaveLength(1);
    expect(response.errors?.[0]).toMatchObject({ path: ['second'], extensions: { code: 'SESSION_NOT_FOUND' } });
  });
});
