import { createHash } from 'node:crypto';
import type { RecordReader, SourceRecord, SourceRecords } from '../source.ts';
import { type FileLine, readLines } from './line-reader.ts';

/** Parses one line of a file. */
export type LineParser = (line: FileLine) => SourceRecord;

/**
 * The lines of a file as the records of a session, one in memory at a time.
 * The position to resume at is a number of lines with their hash: a line may be added behind them, but none of them may change.
 */
export function lineRecords(path: string, name: string, parse: LineParser): SourceRecords {
  return {
    name,
    read: () => new LineRecordReader(path, parse),
    async resume(position) {
      const [lines = '0', digest] = position.split(':');
      const reader = new LineRecordReader(path, parse);
      if ((await reader.skip(Number(lines))) && reader.position === `${lines}:${digest}`) return reader;
      await reader.close();
      return null;
    },
    parse: (raw, number) => parse({ line: number, bytes: Buffer.from(raw), closed: true }),
  };
}

class LineRecordReader implements RecordReader {
  readonly #parse: LineParser;
  readonly #lines: AsyncIterator<FileLine>;
  readonly #hash = createHash('sha256');
  #peeked: { readonly line: FileLine; readonly record: SourceRecord } | null = null;
  #linesRead = 0;
  #unfinished: SourceRecord | null = null;

  constructor(path: string, parse: LineParser) {
    this.#parse = parse;
    this.#lines = readLines(path);
  }

  get recordsRead(): number {
    return this.#linesRead;
  }

  get position(): string {
    return `${this.#linesRead}:${this.#hash.copy().digest('base64url')}`;
  }

  /** A last line without a line feed that is no valid record. */
  get unfinished(): SourceRecord | null {
    return this.#unfinished;
  }

  /** Reads lines without parsing them. @returns false if there are fewer */
  async skip(count: number): Promise<boolean> {
    while (this.#linesRead < count) {
      const { value, done } = await this.#lines.next();
      if (done === true) return false;
      this.#count(value);
    }
    return true;
  }

  async peek(): Promise<SourceRecord | null> {
    if (this.#peeked !== null) return this.#peeked.record;
    if (this.#unfinished !== null) return null;
    const { value: line, done } = await this.#lines.next();
    if (done === true) return null;
    const record = this.#parse(line);
    if (!line.closed && (record.kind === 'malformed' || record.kind === 'blank')) {
      this.#unfinished = record;
      return null;
    }
    this.#peeked = { line, record };
    return record;
  }

  async next(): Promise<SourceRecord | null> {
    const record = await this.peek();
    if (this.#peeked !== null) this.#count(this.#peeked.line);
    this.#peeked = null;
    return record;
  }

  /** Closes the file. */
  async close(): Promise<void> {
    await this.#lines.return?.();
  }

  #count(line: FileLine): void {
    this.#hash.update(line.bytes ?? 'too long').update('\n');
    this.#linesRead++;
  }
}
