import { setImmediate } from 'node:timers';
import DataLoader from 'dataloader';
import pLimit from 'p-limit';
import { DomainError } from '../errors.ts';
import type { AnswerMemory, AnswerShare } from './answer-memory.ts';
import type { Database, Executor, HoldingDatabase, Sql } from './database.ts';
import { sizeOf } from './value-size.ts';

/** Reads one value for each key, of which no two are the same, in their order, with one statement. */
export type ReadByKeys<Key, Value> = (from: Pick<Executor, 'rows'>, keys: readonly Key[]) => Promise<Value[]>;

/**
 * Reads values by key.
 * @param about all that the statement depends on beside its keys, rights included, as one text
 */
export type ReadTogether<Key, Value> = (about: string, keys: readonly Key[], read: ReadByKeys<Key, Value>) => Promise<Value[]>;

/** What one operation reads for itself. */
export interface OwnReading {
  /** Holds in the share what is read. */
  readonly database: Pick<HoldingDatabase, 'rows' | 'inTurn'>;
  readonly share: AnswerShare;
}

/** What reads of all operations share. */
export interface CommonReading {
  readonly database: Database;
  /** Bounds what one statement reads. */
  readonly answers: AnswerMemory;
  /** Most keys of one statement; what they give should be far less than one answer may hold. */
  readonly maxKeys: number;
}

/** Statements of one kind that are sent before others wait; those that come meanwhile go together. */
const MAX_AT_ONCE = 2;

/** For so long at most: what holds those up, such as a lock, need not hold up others. */
const MAX_WAIT_MS = 100;

/** Most keys of one operation that go with those of others: the statement for more of them is worth its cost. */
const MAX_OWN_KEYS = 4;

/** As little as this is not worth counting, in bytes. */
const UNCOUNTED_BYTES = 64 * 1024;

/** Reads on an operation's own. */
export function readAlone(
  database: Pick<Executor, 'rows'>,
): <Key, Value>(...asked: Parameters<ReadTogether<Key, Value>>) => Promise<Value[]> {
  return (_about, keys, read) => read(database, keys);
}

/** The key of reads that have no other: those of the same statement. */
export const WHOLE = [''] as const;

/** Names a statement, with its values, for reads that are the same where all of it is. */
export function statementKey({ text, values }: Sql): string {
  return JSON.stringify([text, values], (_name, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));
}

/** Reads the same for whoever asks: with one statement for all of them. */
export function readOnce<Value>(read: (from: Pick<Executor, 'rows'>) => Promise<Value>): ReadByKeys<string, Value> {
  return async (from, keys) => {
    const value = await read(from);
    return keys.map(() => value);
  };
}

/** What several operations asked for is more than one may read; each by itself is perhaps not. */
class TooLargeTogetherError extends Error {
  override readonly name = 'TooLargeTogetherError';
}

interface Kind<Key, Value> {
  readonly loader: DataLoader<Key, Value>;
  /** Operations that wait for it. */
  waiting: number;
}

/**
 * Reads of rows by their keys for all operations of the process: those under way at the same time share a statement, since most of what a
 * small one costs is the statement. Nothing is kept: what is read is as of after it was asked for.
 */
export class JoinedReads<Key, Value> {
  readonly #common: CommonReading;
  readonly #kinds = new Map<string, Kind<Key, Value>>();
  /** Reads of many keys, which only others who want the very same take part in. */
  #lists: JoinedReads<string, Value[]> | undefined;

  constructor(common: CommonReading) {
    this.#common = common;
  }

  /**
   * Gives the function that reads for one operation; it throws what its database and its share would throw. Rows that are too large to be
   * read with those of others it reads alone.
   */
  joinedBy(own: OwnReading): ReadTogether<Key, Value> {
    return async (about, keys, read) => {
      if (keys.length > MAX_OWN_KEYS) {
        this.#lists ??= new JoinedReads<string, Value[]>({ ...this.#common, maxKeys: Number.POSITIVE_INFINITY });
        const readList = readOnce(from => read(from, keys));
        const [values] = await this.#lists.joinedBy(own)(JSON.stringify([about, keys]), WHOLE, readList);
        return values ?? [];
      }
      let values: Value[];
      try {
        values = await own.database.inTurn(() => this.#load(about, keys, read));
      } catch (error) {
        if (error instanceof TooLargeTogetherError) return read(own.database, keys);
        throw error;
      }
      const bytes = sizeOf(values);
      if (bytes > UNCOUNTED_BYTES) own.share.read(bytes);
      return values;
    };
  }

  async #load(about: string, keys: readonly Key[], read: ReadByKeys<Key, Value>): Promise<Value[]> {
    const kind = this.#kinds.get(about) ?? { loader: this.#createLoader(read), waiting: 0 };
    this.#kinds.set(about, kind);
    kind.waiting += 1;
    try {
      return await Promise.all(keys.map(key => kind.loader.load(key)));
    } finally {
      kind.waiting -= 1;
      if (kind.waiting === 0) this.#kinds.delete(about);
    }
  }

  #createLoader(read: ReadByKeys<Key, Value>): DataLoader<Key, Value> {
    const limit = pLimit(MAX_AT_ONCE);
    let reading: Promise<unknown> = Promise.resolve();
    const batch = (keys: readonly Key[]) => {
      const values = this.#read(keys, read);
      reading = values.catch(() => undefined);
      return values;
    };
    // A batch takes keys until it is sent.
    const batchScheduleFn = (sendBatch: () => void) => {
      let isSent = false;
      const send = () => {
        isSent = true;
        clearTimeout(late);
        sendBatch();
        return reading;
      };
      const late = setTimeout(send, MAX_WAIT_MS);
      setImmediate(() => void limit(() => (isSent ? undefined : send())));
    };
    return new DataLoader(batch, { cache: false, maxBatchSize: this.#common.maxKeys, batchScheduleFn });
  }

  async #read(keys: readonly Key[], read: ReadByKeys<Key, Value>): Promise<Value[]> {
    const share = this.#common.answers.openShare();
    const database = this.#common.database.holding(share);
    let distinct = 0;
    // The loader of an operation lets none of its own come twice; those of different operations may be the same.
    const once = new DataLoader<Key, Value, string>(
      asked => {
        distinct = asked.length;
        return read(database, asked);
      },
      { cacheKeyFn: nameOf },
    );
    try {
      return await Promise.all(keys.map(key => once.load(key)));
    } catch (error) {
      throw error instanceof DomainError && distinct > 1 ? new TooLargeTogetherError() : error;
    } finally {
      share.release();
    }
  }
}

function nameOf(key: unknown): string {
  return typeof key === 'string' ? key : JSON.stringify(key);
}
