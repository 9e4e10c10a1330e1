import { describe, expect, it } from 'vitest';
import type { EventType } from '../../../src/events/event-types.ts';
import { type EventRow, linkedParent, toStoredEvent } from '../../../src/events/stored-event.ts';

const row = (type: string, payload: unknown): EventRow => ({
  seq: '9007199254740993',
  id: '12',
  occurredAtMs: '1770927900123',
  sessionId: '0192f3a0-0000-7000-8000-000000000001',
  agentId: 'main',
  type,
  payload,
});

describe('toStoredEvent', () => {
  it('reads the common fields of an event', () => {
    expect(toStoredEvent(row('RESTORED', {}))).toEqual({
      seq: 9007199254740993n,
      id: 12n,
      occurredAt: new Date('2026-02-12T20:25:00.123Z'),
      sessionId: '0192f3a0-0000-7000-8000-000000000001',
      agentId: 'main',
      type: 'RESTORED',
      payload: {},
    });
  });

  it('reads the payload of each type', () => {
    const usage = { inputTokens: 1, outputTokens: 2, cacheReadTokens: 3, cacheWriteTokens: 4, totalTokens: 10, costNanoUsd: 5_000_000_000 };
    const payloads: Readonly<Record<EventType, readonly object[]>> = {
      CREATED: [{}, { parentId: 'p' }],
      UPDATED: [{ changed: ['title', 'tags'] }, { changed: ['parent'], parentId: 'p' }],
      STATUS_CHANGED: [
        { from: 'WORKING', to: 'FAILED', reason: 'Token limit exceeded', usage, idleMs: 12 },
        { from: 'SPAWNING', to: 'ACTIVE', reason: null, usage, idleMs: 0 },
      ],
      DELETED: [{ permanent: true }],
      RESTORED: [{}],
      MESSAGE_ADDED: [{ messageId: 'm', position: 3 }],
      MESSAGE_DELETED: [{ messageId: 'm', position: 3 }],
    };
    for (const [type, examples] of Object.entries(payloads))
      for (const payload of examples) expect(toStoredEvent(row(type, payload))).toMatchObject({ type, payload });
  });

  it('fills in the details that another version of the server left out of a payload', () => {
    const noUsage = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, totalTokens: 0, costNanoUsd: 0 };
    const statusChange = { from: 'WORKING', to: 'FAILED' };
    const filledIn = { ...statusChange, reason: null, usage: noUsage, idleMs: 0 };
    expect(toStoredEvent(row('STATUS_CHANGED', statusChange))?.payload).toEqual(filledIn);
    expect(toStoredEvent(row('STATUS_CHANGED', { ...statusChange, usage: { inputTokens: '7' }, reason: 1 }))?.payload).toEqual(filledIn);
    expect(toStoredEvent(row('DELETED', {}))?.payload).toEqual({ permanent: false });
    expect(toStoredEvent(row('CREATED', { parentId: 5 }))?.payload).toEqual({});
  });

  it('returns null for an unknown type or an invalid payload', () => {
    expect(toStoredEvent(row('LOG_APPENDED', {}))).toBeNull();
    expect(toStoredEvent(row('STATUS_CHANGED', { from: 'WORKING', to: 'GONE' }))).toBeNull();
    expect(toStoredEvent(row('UPDATED', { changed: 'title' }))).toBeNull();
    expect(toStoredEvent(row('MESSAGE_ADDED', null))).toBeNull();
  });
});

describe('linkedParent', () => {
  const parentOf = (type: string, payload: object) => {
    const event = toStoredEvent(row(type, payload));
    return event === null ? undefined : linkedParent(event);
  };

  it('returns the parent set by a CREATED or UPDATED event, else null', () => {
    expect(parentOf('CREATED', { parentId: 'p' })).toBe('p');
    expect(parentOf('UPDATED', { changed: ['parent'], parentId: 'p' })).toBe('p');
    expect(parentOf('CREATED', {})).toBeNull();
    expect(parentOf('DELETED', { permanent: false })).toBeNull();
  });
});
