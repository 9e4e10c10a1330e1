import { DomainError } from '../errors.ts';

/** A budget below this size, in bytes, is never rejected because of what other operations use. */
const SMALL_BYTES = 1024 * 1024;

/** How many responses of the largest size may be in memory at the same time, as rows or as text. */
const LARGEST_AT_ONCE = 4;

/** The memory that one operation uses for the rows it reads and for its response. */
export interface MemoryBudget {
  /**
   * Adds bytes that were read from Postgres.
   * @throws DomainError QUERY_TOO_COMPLEX with `details.maxBytes` above the limit of one response, SERVICE_UNAVAILABLE if all operations
   * together use too much memory
   */
  addRead(bytes: number): void;
  /**
   * Adds bytes of the response that is made of the rows.
   * @throws as `addRead`
   */
  addResponse(bytes: number): void;
  /** The bytes added since the last release. */
  usedBytes(): number;
  /** Gives all of it back. Bytes added later count again, until the next release. */
  release(): void;
  /** Whether `release` has been called. */
  isReleased(): boolean;
}

/** Limits the memory of responses: each one, so that its caller gets a clear error, and all together, so that the server survives. */
export interface ResponseMemory {
  /** The largest sum of rows, and the largest response text, of one operation, in bytes. */
  readonly maxBytes: number;
  openBudget(): MemoryBudget;
  /** What all operations use now, in bytes. */
  usedBytes(): number;
}

/** What all operations use together. */
interface SharedUse {
  readonly maxBytes: number;
  used: number;
}

class OperationBudget implements MemoryBudget {
  readonly #shared: SharedUse;
  #read = 0;
  #response = 0;
  #isReleased = false;

  constructor(shared: SharedUse) {
    this.#shared = shared;
  }

  addRead(bytes: number): void {
    this.#read += bytes;
    this.#shared.used += bytes;
    this.#assertRoom(this.#read);
  }

  addResponse(bytes: number): void {
    this.#response += bytes;
    this.#shared.used += bytes;
    this.#assertRoom(this.#response);
  }

  usedBytes(): number {
    return this.#read + this.#response;
  }

  release(): void {
    this.#shared.used -= this.#read + this.#response;
    this.#read = 0;
    this.#response = 0;
    this.#isReleased = true;
  }

  isReleased(): boolean {
    return this.#isReleased;
  }

  #assertRoom(bytes: number): void {
    const { maxBytes, used } = this.#shared;
    if (bytes > maxBytes) {
      throw new DomainError('QUERY_TOO_COMPLEX', `The response is larger than ${maxBytes} bytes. Ask for smaller pages or fewer fields.`, {
        maxBytes,
      });
    }
    if (used > maxBytes * LARGEST_AT_ONCE && bytes > SMALL_BYTES) {
      throw new DomainError('SERVICE_UNAVAILABLE', 'The server is building too many large responses. Try again.');
    }
  }
}

/** @param maxBytes of one operation; all together may use four times as much */
export function createResponseMemory(maxBytes: number): ResponseMemory {
  const shared: SharedUse = { maxBytes, used: 0 };
  return { maxBytes, usedBytes: () => shared.used, openBudget: () => new OperationBudget(shared) };
}
