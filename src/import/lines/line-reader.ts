import { createReadStream } from 'node:fs';

const NEWLINE = 0x0a;

/** Neither a JavaScript string nor one database value can hold a longer line. */
const LONGEST_LINE_BYTES = 128 * 1024 * 1024;

/** One physical line of a file, without its line feed. */
export interface FileLine {
  /** 1-based. */
  readonly line: number;
  /** Null if the line is longer than 128 MiB. */
  readonly bytes: Buffer | null;
  /** False for a last line without a line feed: another program may still be writing it. */
  readonly closed: boolean;
}

/**
 * Reads a file line by line, with one line in memory at a time.
 * @param longest in bytes; the content of a longer line is skipped
 * @throws the file system's error if the file cannot be read
 */
export async function* readLines(path: string, longest: number = LONGEST_LINE_BYTES): AsyncGenerator<FileLine> {
  let line = 0;
  let pending: Buffer[] = [];
  let length = 0;
  const append = (piece: Buffer): void => {
    length += piece.length;
    if (length > longest) pending = [];
    else if (piece.length > 0) pending.push(piece);
  };
  const take = (closed: boolean): FileLine => {
    line++;
    const bytes = length > longest ? null : pending.length === 1 && pending[0] !== undefined ? pending[0] : Buffer.concat(pending);
    pending = [];
    length = 0;
    return { line, bytes, closed };
  };
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 })) {
    const data: Buffer = chunk;
    let start = 0;
    for (let end = data.indexOf(NEWLINE); end !== -1; end = data.indexOf(NEWLINE, start)) {
      append(data.subarray(start, end));
      yield take(true);
      start = end + 1;
    }
    append(data.subarray(start));
  }
  if (length > 0) yield take(false);
}
