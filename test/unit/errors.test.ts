import { describe, expect, it } from 'vitest';
import { badInput, DomainError, isErrorCode, isRetryable, sessionNotFound } from '../../src/errors.ts';

describe('DomainError', () => {
  it('is an Error with a code, a message and details', () => {
    const error = new DomainError('KEY_TAKEN', 'Taken.', { value: 'a' });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'DomainError', code: 'KEY_TAKEN', message: 'Taken.', details: { value: 'a' } });
    expect(new DomainError('KEY_TAKEN', 'Taken.').details).toEqual({});
  });
});

describe('badInput', () => {
  it('has the field in its message and its details', () => {
    const error = badInput('input.tags.3', 'must not be blank', { maxLength: 64 });
    expect(error).toMatchObject({
      code: 'BAD_USER_INPUT',
      message: 'input.tags.3 must not be blank.',
      details: { field: 'input.tags.3', maxLength: 64 },
    });
  });
});

describe('sessionNotFound', () => {
  it('has details.trashed only for a session in the trash', () => {
    expect(sessionNotFound('x')).toMatchObject({ code: 'SESSION_NOT_FOUND', details: { id: 'x' } });
    expect(sessionNotFound('x').details).not.toHaveProperty('trashed');
    expect(sessionNotFound('x', true)).toMatchObject({ code: 'SESSION_NOT_FOUND', details: { id: 'x', trashed: true } });
  });
});

describe('error codes', () => {
  it('are recognised by their exact names', () => {
    expect([isErrorCode('KEY_TAKEN'), isErrorCode('key_taken'), isErrorCode('constructor'), isErrorCode(null), isErrorCode(1)]).toEqual([
      true,
      false,
      false,
      false,
      false,
    ]);
  });

  it('are retryable only if a later attempt may succeed', () => {
    expect(isRetryable('SERVICE_UNAVAILABLE')).toBe(true);
    expect(isRetryable('REQUEST_TIMEOUT')).toBe(true);
    expect(isRetryable('VERSION_CONFLICT')).toBe(false);
    expect(isRetryable('INTERNAL_SERVER_ERROR')).toBe(false);
  });
});
