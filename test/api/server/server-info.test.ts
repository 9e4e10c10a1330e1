import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../../src/errors.ts';
import { startTestApp, type TestApp } from '../../support/app.ts';

describe('serverInfo', () => {
  let app: TestApp;

  beforeAll(async () => {
    app = await startTestApp({ env: { EVENT_RETENTION: '3d', TRASH_DAYS: '12' } });
  });
  afterAll(() => app?.close());

  it('returns how long events and the trash are kept', async () => {
    const response = await app.gql('{ serverInfo { limits { eventRetentionMs trashDays } } }');
    expect(response.expectOk()).toEqual({ serverInfo: { limits: { eventRetentionMs: 3 * 86_400_000, trashDays: 12 } } });
  });

  it('returns every error code with its meaning, and whether it is retryable', async () => {
    const response = await app.gql('{ serverInfo { errorCodes { code description retryable } } }');
    const errorCodes = Object.entries(ERROR_CODES).map(([code, { meaning, isRetryable }]) => ({
      code,
      description: meaning,
      retryable: isRetryable,
    }));
    expect(response.expectOk()).toEqual({ serverInfo: { errorCodes } });
  });

  it('returns the values of enums in their declared order from introspection', async () => {
    const response = await app.gql(`{
      scopes: __type(name: "ApiScope") { enumValues { name } }
      priorities: __type(name: "SessionPriority") { enumValues { name } }
    }`);
    expect(response.expectOk()).toEqual({
      scopes: { enumValues: ['READ', 'WRITE', 'MANAGE', 'ADMIN'].map(name => ({ name })) },
      priorities: { enumValues: ['LOW', 'NORMAL', 'HIGH', 'CRITICAL'].map(name => ({ name })) },
    });
  });
});
