import { describe, expect, it } from 'vitest';
import { SESSION, type SessionView, typesOf, useMutationApi } from './mutation-api.ts';

const api = useMutationApi();
const { create, expectError } = api;

const end = async (input: Record<string, unknown>) =>
  (await api.mutate<{ session: SessionView }>('endSession', input, `session { ${SESSION} }`)).session;

const OPEN = ['SPAWNING', 'ACTIVE', 'WORKING', 'STALLED'];

describe('endSession', () => {
  it('ends the session with a trimmed reason', async () => {
    const { id, sessionId, startedAt } = await create();
    const session = await end({ id, reason: ' all said ' });
    expect(session).toMatchObject({ status: 'ENDED', statusReason: 'all said', version: 2 });
    expect(Date.parse(session.endedAt ?? '')).toBeGreaterThanOrEqual(Date.parse(startedAt));
    expect((await api.events(sessionId)).slice(1)).toEqual([
      {
        type: 'STATUS_CHANGED',
        payload: {
          from: 'ACTIVE',
          to: 'ENDED',
          reason: 'all said',
          idleMs: expect.any(Number),
          usage: { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, totalTokens: 0, costNanoUsd: 0 },
        },
      },
    ]);
  });

  it('needs three statements: to lock, to write and to read the session of the payload', async () => {
    const { id } = await create();
    expect((await api.send('endSession', { id }, 'session { id status }')).sql).toHaveLength(3);
  });

  it('treats null as the default and a blank reason as none', async () => {
    const { id } = await create();
    expect(await end({ id, status: null, reason: ' ', expectedVersion: null })).toMatchObject({ status: 'ENDED', statusReason: null });
  });

  it.each(OPEN)('ends a session with the status %s as COMPLETED, FAILED or ENDED', async from => {
    for (const status of ['COMPLETED', 'FAILED', 'ENDED']) {
      const { id, sessionId } = await create();
      await api.rows('update aria_engine.chat_sessions set status = $2::aria_engine.session_status where id = $1', [sessionId, from]);
      expect(await end({ id, status })).toMatchObject({ status, version: 2, endedAt: expect.any(String) });
      expect((await api.events(sessionId)).at(-1)).toMatchObject({ type: 'STATUS_CHANGED', payload: { from, to: status } });
    }
  });

  it.each(['COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'])(
    'changes nothing if the status is already %s, and returns INVALID_STATUS_TRANSITION for another one',
    async from => {
      const { id, sessionId } = await create();
      await api.rows(
        `update aria_engine.chat_sessions set status = $2::aria_engine.session_status, status_reason = 'first', ended_at = now() where id = $1`,
        [sessionId, from],
      );
      const before = await api.session(id);
      for (const status of ['COMPLETED', 'FAILED', 'ENDED']) {
        if (status === from) expect(await end({ id, status, reason: 'second' })).toEqual(before);
        else await expectError('endSession', { id, status }, 'INVALID_STATUS_TRANSITION');
      }
      expect(await api.session(id)).toEqual(before);
      expect(typesOf(await api.events(sessionId))).toEqual(['CREATED']);
    },
  );

  it.each([...OPEN, 'TERMINATED'])('returns BAD_USER_INPUT for the status %s', async status => {
    const { id } = await create();
    const error = await expectError('endSession', { id, status }, 'BAD_USER_INPUT');
    expect(error.extensions.details).toEqual({ field: 'input.status' });
  });

  it('returns VERSION_CONFLICT for another version, and BAD_USER_INPUT for a reason that is invalid or too long', async () => {
    const { id } = await create();
    const error = await expectError('endSession', { id, expectedVersion: 2 }, 'VERSION_CONFLICT');
    expect(error.extensions.details).toEqual({ expectedVersion: 2, currentVersion: 1 });
    for (const reason of ['a\0', '\ud800', 'x'.repeat(2_001)]) {
      const invalidReason = await expectError('endSession', { id, reason }, 'BAD_USER_INPUT');
      expect(invalidReason.extensions.details).toMatchObject({ field: 'input.reason' });
    }
    expect(await end({ id, expectedVersion: 1, reason: 'x'.repeat(2_000) })).toMatchObject({ version: 2 });
    await expectError('endSession', { id, expectedVersion: 1 }, 'VERSION_CONFLICT');
  });

  it('returns SESSION_NOT_FOUND for unknown and malformed ids, and for a trashed session', async () => {
    for (const id of ['00000000-0000-7000-8000-000000000000', 'nonsense', 'a\0'])
      await expectError('endSession', { id }, 'SESSION_NOT_FOUND');
    const { id } = await create();
    await api.mutate('deleteSession', { id }, 'deletedId');
    const error = await expectError('endSession', { id }, 'SESSION_NOT_FOUND');
    expect(error.extensions.details).toEqual({ id, trashed: true });
  });
});
