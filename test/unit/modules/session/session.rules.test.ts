import { describe, expect, it } from 'vitest';
import {
  canTransition,
  deriveTitle,
  effectiveTitle,
  isTerminal,
  type SessionStatus,
  shownPercent,
  stalledReason,
  statusFromWord,
  transitionsFrom,
} from '../../../../src/modules/session/session.rules.ts';

const STATUSES: readonly SessionStatus[] = ['SPAWNING', 'ACTIVE', 'WORKING', 'STALLED', 'COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'];

describe('canTransition', () => {
  // One row per old status. Each x marks an allowed new status, in the order of STATUSES.
  it.each([
    ['SPAWNING', 'xxxxxxxx'],
    ['ACTIVE', '.xx.xxxx'],
    ['WORKING', '.xxxxxxx'],
    ['STALLED', '.xxxxxxx'],
    ['COMPLETED', '.x..x...'],
    ['FAILED', '.....x..'],
    ['TERMINATED', '......x.'],
    ['ENDED', '.x.....x'],
  ] as const)('allows exactly the documented transitions from %s', (from, row) => {
    expect(STATUSES.map(to => (canTransition(from, to) ? 'x' : '.')).join('')).toBe(row);
    expect(transitionsFrom(from)).toEqual(STATUSES.filter(to => to !== from && canTransition(from, to)));
  });
});

describe('stalledReason', () => {
  it.each([
    [300_000, 'No activity for 5 minutes'],
    [60_000, 'No activity for 1 minute'],
    [90_000, 'No activity for 90 seconds'],
    [7_200_000, 'No activity for 2 hours'],
    [86_400_000, 'No activity for 1 day'],
    [1_500, 'No activity for 1500 milliseconds'],
  ])('returns for %i ms: %s', (milliseconds, reason) => {
    expect(stalledReason(milliseconds)).toBe(reason);
  });
});

describe('isTerminal', () => {
  it('is true for statuses in which a session accepts no messages', () => {
    expect(STATUSES.filter(isTerminal)).toEqual(['COMPLETED', 'FAILED', 'TERMINATED', 'ENDED']);
  });
});

describe('statusFromWord', () => {
  it.each([
    ['working', 'WORKING'],
    [' Running ', 'WORKING'],
    ['error', 'FAILED'],
    ['failed', 'FAILED'],
    ['timeout', 'FAILED'],
    ['completed', 'COMPLETED'],
    ['DONE', 'COMPLETED'],
    ['ended', 'ENDED'],
    ['killed', 'TERMINATED'],
    ['terminated', 'TERMINATED'],
    ['spawning', 'SPAWNING'],
    ['starting', 'SPAWNING'],
  ])('converts %j to %s, whether the session has ended or not', (word, status) => {
    expect([statusFromWord(word, false), statusFromWord(word, true)]).toEqual([status, status]);
  });

  it.each(['active', 'whatever', '', 'constructor'])('converts %j to ACTIVE, or to ENDED if the session has ended', word => {
    expect([statusFromWord(word, false), statusFromWord(word, true)]).toEqual(['ACTIVE', 'ENDED']);
  });
});

describe('deriveTitle', () => {
  it.each([
    ['null for only white space', ' \n\t\u00a0', null],
    ['white space collapsed', ' a\n\n b\tc ', 'a b c'],
    ['60 characters unchanged', 'x'.repeat(60), 'x'.repeat(60)],
    ['61 characters without a space cut at 59', 'x'.repeat(61), `${'x'.repeat(59)}…`],
    ['text cut at 59 if its last space is at 36', `${'x'.repeat(36)} ${'y'.repeat(40)}`, `${'x'.repeat(36)} ${'y'.repeat(22)}…`],
    ['text cut at its last space if that is at 37', `${'x'.repeat(37)} ${'y'.repeat(40)}`, `${'x'.repeat(37)}…`],
    ['60 astral characters unchanged', '💡'.repeat(60), '💡'.repeat(60)],
    ['61 astral characters cut at 59', '💡'.repeat(61), `${'💡'.repeat(59)}…`],
  ])('returns %s', (_what, text, title) => {
    expect(deriveTitle(text)).toBe(title);
  });
});

describe('effectiveTitle', () => {
  const sources = {
    id: '01a1fbc9-f945-74d5-9363-09f02943a67b',
    givenTitle: 'given',
    displayName: 'name',
    subject: 'subject',
    derivedTitle: 'derived',
  };

  it('returns the first source that is not blank', () => {
    expect(effectiveTitle(sources)).toBe('given');
    expect(effectiveTitle({ ...sources, givenTitle: ' ' })).toBe('name');
    expect(effectiveTitle({ ...sources, givenTitle: null, displayName: null })).toBe('subject');
    expect(effectiveTitle({ ...sources, givenTitle: null, displayName: '', subject: null })).toBe('derived');
    expect(effectiveTitle({ ...sources, givenTitle: null, displayName: null, subject: null, derivedTitle: null })).toBe('Session 01a1fbc9');
  });

  it('cuts the title at 200 characters, because imported names may be longer', () => {
    expect(effectiveTitle({ ...sources, givenTitle: '😀'.repeat(300) })).toBe('😀'.repeat(200));
    expect(effectiveTitle({ ...sources, givenTitle: '😀'.repeat(200) })).toBe('😀'.repeat(200));
  });
});

describe('shownPercent', () => {
  it('returns 100 for COMPLETED, else the last reported value', () => {
    expect(STATUSES.map(status => shownPercent(status, 40))).toEqual([40, 40, 40, 40, 100, 40, 40, 40]);
  });
});
