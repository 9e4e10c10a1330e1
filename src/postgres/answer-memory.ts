import { DomainError } from '../errors.ts';

/** So much of a share nobody is refused for what others hold. */
const SMALL_BYTES = 1024 * 1024;

/** How many answers of the largest size are held at once, as rows or as text. */
const LARGEST_AT_ONCE = 4;

/** What one reader of the database, or one operation, holds in memory of what it has read. */
export interface AnswerShare {
  /**
   * Holds so many bytes more of what is read.
   * @throws DomainError QUERY_TOO_COMPLEX with `details.maxBytes` beyond the limit of one answer, SERVICE_UNAVAILABLE where all answers
   * together take too much just now
   */
  read(bytes: number): void;
  /**
   * Holds the answer that is made of it.
   * @throws as `read`
   */
  answer(bytes: number): void;
  /** Whether there is anything to be released. */
  isHeld(): boolean;
  /** Holds nothing any more; it may be used again. */
  release(): void;
}

/** Bounds what answers take in memory: each by itself, so that callers hear what is too much, and all together, so that the server lives. */
export interface AnswerMemory {
  /** What one answer may hold of rows, and what its text may be, in bytes. */
  readonly maxBytes: number;
  openShare(): AnswerShare;
  /** What is held of all, in bytes. */
  heldBytes(): number;
}

/** Why an answer is not made: it is too large itself, or all that are being made are. */
type RefusalCode = 'QUERY_TOO_COMPLEX' | 'SERVICE_UNAVAILABLE';

/** @param maxBytes of one answer */
export function answerRefusal(code: RefusalCode, maxBytes: number): DomainError {
  return code === 'QUERY_TOO_COMPLEX'
    ? new DomainError(code, `The answer is larger than ${maxBytes} bytes. Ask for smaller pages or fewer fields.`, { maxBytes })
    : new DomainError(code, 'Too many large answers are being made just now; try again.');
}

/** @param maxBytes of one answer; all together may take four times as much */
export function createAnswerMemory(maxBytes: number): AnswerMemory {
  let held = 0;

  function assertRoom(bytes: number): void {
    if (bytes > maxBytes) throw answerRefusal('QUERY_TOO_COMPLEX', maxBytes);
    if (held > maxBytes * LARGEST_AT_ONCE && bytes > SMALL_BYTES) throw answerRefusal('SERVICE_UNAVAILABLE', maxBytes);
  }

  return {
    maxBytes,
    heldBytes: () => held,
    openShare() {
      let read = 0;
      let answered = 0;
      return {
        read(bytes) {
          read += bytes;
          held += bytes;
          assertRoom(read);
        },
        answer(bytes) {
          answered += bytes;
          held += bytes;
          assertRoom(answered);
        },
        isHeld: () => read + answered > 0,
        release() {
          held -= read + answered;
          read = 0;
          answered = 0;
        },
      };
    },
  };
}
