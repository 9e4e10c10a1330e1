import { describe, expect, it } from 'vitest';
import { decodeEventCursor, encodeEventCursor } from '../../../src/events/event-cursor.ts';

describe('decodeEventCursor', () => {
  it('returns the position that encodeEventCursor encoded', () => {
    for (const seq of [0n, 1n, 255n, 2n ** 53n + 1n, 2n ** 63n - 1n]) expect(decodeEventCursor(encodeEventCursor(seq))).toBe(seq);
    expect(encodeEventCursor(42n)).toMatch(/^[A-Za-z0-9_-]+$/);
  });

  it('returns null for any other text', () => {
    const invalid = ['e1:', 'e1:-1', 'e1:01', 'e1: 1', 'e2:1', 'e1:1 ', 'e1:9223372036854775808', 'e1:1e3'];
    for (const text of invalid) expect(decodeEventCursor(Buffer.from(text).toString('base64url'))).toBeNull();
    for (const text of ['', 'e1:1', `${encodeEventCursor(7n)}=`, ` ${encodeEventCursor(7n)}`, 'é', '\0'])
      expect(decodeEventCursor(text)).toBeNull();
  });
});
