/** Open: SPAWNING, ACTIVE, WORKING, STALLED. Terminal: all others. */
export type SessionStatus = 'SPAWNING' | 'ACTIVE' | 'WORKING' | 'STALLED' | 'COMPLETED' | 'FAILED' | 'TERMINATED' | 'ENDED';

export type SessionPriority = 'LOW' | 'NORMAL' | 'HIGH' | 'CRITICAL';

/** The status reason of a session that failed because its usage reached its token limit. */
export const TOKEN_LIMIT_REASON = 'Token limit exceeded';

/** From the largest to the smallest unit. */
const DURATION_UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1_000],
  ['millisecond', 1],
] as const;

/** The status reason of a stalled session, e.g. `No activity for 5 minutes`. Uses the largest unit that gives a whole number. */
export function stalledReason(stalledAfterMs: number): string {
  const [unit, unitMs] = DURATION_UNITS.find(([, ms]) => stalledAfterMs % ms === 0) ?? ['millisecond', 1];
  const number = stalledAfterMs / unitMs;
  return `No activity for ${number} ${unit}${number === 1 ? '' : 's'}`;
}

export const MAX_TITLE_LENGTH = 200;
export const MAX_LABEL_LENGTH = 64;
export const MAX_NAME_LENGTH = 200;
export const MAX_TAGS = 50;
export const MAX_TAG_LENGTH = 64;

/** Statuses in which a session accepts messages, logs and progress. */
export const OPEN_STATUSES: readonly SessionStatus[] = ['SPAWNING', 'ACTIVE', 'WORKING', 'STALLED'];

/** Open statuses that change to WORKING with any activity. */
export const REVIVED_STATUSES: readonly SessionStatus[] = ['SPAWNING', 'STALLED'];

const TRANSITIONS: Readonly<Record<SessionStatus, readonly SessionStatus[]>> = {
  SPAWNING: ['ACTIVE', 'WORKING', 'STALLED', 'COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'],
  ACTIVE: ['WORKING', 'COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'],
  WORKING: ['ACTIVE', 'STALLED', 'COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'],
  STALLED: ['ACTIVE', 'WORKING', 'COMPLETED', 'FAILED', 'TERMINATED', 'ENDED'],
  COMPLETED: ['ACTIVE'],
  ENDED: ['ACTIVE'],
  FAILED: [],
  TERMINATED: [],
};

/** True if a session in this status accepts no messages, logs and progress. */
export function isTerminal(status: SessionStatus): boolean {
  return !OPEN_STATUSES.includes(status);
}

/** Whether a session may change from one status to another. It may always keep its status. */
export function canTransition(from: SessionStatus, to: SessionStatus): boolean {
  return from === to || TRANSITIONS[from].includes(to);
}

/** The statuses that may follow a status. */
export function transitionsFrom(status: SessionStatus): readonly SessionStatus[] {
  return TRANSITIONS[status];
}

const STATUS_WORDS: Readonly<Record<string, SessionStatus>> = {
  working: 'WORKING',
  running: 'WORKING',
  error: 'FAILED',
  failed: 'FAILED',
  timeout: 'FAILED',
  completed: 'COMPLETED',
  done: 'COMPLETED',
  ended: 'ENDED',
  killed: 'TERMINATED',
  terminated: 'TERMINATED',
  spawning: 'SPAWNING',
  starting: 'SPAWNING',
};

/** The status for another system's word. `active` and unknown words are ENDED if the session has ended, otherwise ACTIVE. */
export function statusFromWord(word: string, everEnded: boolean): SessionStatus {
  const key = word.trim().toLowerCase();
  const known = Object.hasOwn(STATUS_WORDS, key) ? STATUS_WORDS[key] : undefined;
  return known ?? (everEnded ? 'ENDED' : 'ACTIVE');
}

const DERIVED_TITLE_LENGTH = 60;
const EARLIEST_WORD_CUT = 36;

/**
 * The title derived from the first user message: on one line, at most 60 characters, cut at a word with `…`.
 * Null if the text is blank. The rule is that of OpenClaw's deriveSessionTitle.
 */
export function deriveTitle(text: string): string | null {
  const folded = text.replace(/\s+/gu, ' ').trim();
  if (folded === '') return null;
  const characters = [...folded];
  if (characters.length <= DERIVED_TITLE_LENGTH) return folded;
  const kept = characters.slice(0, DERIVED_TITLE_LENGTH - 1);
  const lastSpace = kept.lastIndexOf(' ');
  return `${kept.slice(0, lastSpace > EARLIEST_WORD_CUT ? lastSpace : kept.length).join('')}…`;
}

/** The values that a title is chosen from. */
export interface TitleSources {
  readonly id: string;
  readonly givenTitle: string | null;
  readonly displayName: string | null;
  readonly subject: string | null;
  readonly derivedTitle: string | null;
}

/**
 * The title to show: the given title, else the display name, else the subject, else the derived title, else `Session` and the first 8
 * characters of the id. Blank values count as absent. At most 200 characters: imported names can be longer and are cut.
 */
export function effectiveTitle(sources: TitleSources): string {
  const named = [sources.givenTitle, sources.displayName, sources.subject, sources.derivedTitle].find(text => text?.trim());
  const title = named ?? `Session ${sources.id.slice(0, 8)}`;
  return title.length <= MAX_TITLE_LENGTH ? title : [...title].slice(0, MAX_TITLE_LENGTH).join('');
}

/** The progress to show: 100 for a COMPLETED session, otherwise the last report. */
export function shownPercent(status: SessionStatus, reported: number): number {
  return status === 'COMPLETED' ? 100 : reported;
}

/** The chat type that a session's origin names; null if it names none. */
export function chatTypeOf(origin: Readonly<Record<string, unknown>> | null | undefined): string | null {
  return typeof origin?.chatType === 'string' ? origin.chatType : null;
}
