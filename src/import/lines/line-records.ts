import { createHash } from 'node:crypto';
import type { SourceLine, SourceTranscript } from '../source.ts';
import type { FileLine } from './line-reader.ts';

/** A line and its number in the file. */
export interface NumberedLine extends SourceLine {
  readonly line: number;
}

/** Reads a transcript from front to back once, and knows what it has read by a hash. */
export class TranscriptCursor {
  readonly #transcript: SourceTranscript;
  readonly #lines: AsyncIterator<FileLine>;
  readonly #hash = createHash('sha256');
  #peeked: { readonly file: FileLine; readonly parsed: NumberedLine } | null = null;
  #linesRead = 0;
  #unfinished: NumberedLine | null = null;

  constructor(transcript: SourceTranscript) {
    this.#transcript = transcript;
    this.#lines = transcript.open()[Symbol.asyncIterator]();
  }

  /** Lines read so far. */
  get linesRead(): number {
    return this.#linesRead;
  }

  /** Once the end is reached: a last line that is not counted as read, because its writer may still be at it; else null. */
  get unfinished(): NumberedLine | null {
    return this.#unfinished;
  }

  /** Hash of the lines read so far. */
  digest(): string {
    return this.#hash.copy().digest('base64url');
  }

  /** Reads over lines without a look at them. @returns false where there are fewer */
  async skip(count: number): Promise<boolean> {
    while (this.#linesRead < count) {
      const { value, done } = await this.#lines.next();
      if (done === true) return false;
      this.#count(value);
    }
    return true;
  }

  /** The next line, without reading it; null at the end. */
  async peek(): Promise<NumberedLine | null> {
    if (this.#peeked !== null) return this.#peeked.parsed;
    if (this.#unfinished !== null) return null;
    const { value: file, done } = await this.#lines.next();
    if (done === true) return null;
    const parsed = { ...this.#transcript.parse(file), line: file.line };
    if (!file.closed && (parsed.kind === 'malformed' || parsed.kind === 'blank')) {
      this.#unfinished = parsed;
      return null;
    }
    this.#peeked = { file, parsed };
    return parsed;
  }

  /** The next line; null at the end. */
  async next(): Promise<NumberedLine | null> {
    const parsed = await this.peek();
    if (this.#peeked !== null) this.#count(this.#peeked.file);
    this.#peeked = null;
    return parsed;
  }

  /** Closes the file, read to its end or not. */
  async close(): Promise<void> {
    await this.#lines.return?.();
  }

  #count(file: FileLine): void {
    this.#hash.update(file.bytes ?? 'too long').update('\n');
    this.#linesRead++;
  }
}
