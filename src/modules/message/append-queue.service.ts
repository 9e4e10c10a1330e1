import { AsyncResource } from 'node:async_hooks';
import { LRUCache } from 'lru-cache';
import type { Database } from '../../postgres/database.ts';
import { GroupCommit } from '../../postgres/group-commit.ts';
import { estimatedJsonSize } from '../../postgres/json-size.ts';
import { sqlStateOf, toDatabaseFailure } from '../../postgres/sql-state.ts';
import { rightsOf, type Viewer } from '../viewer/viewer.rules.ts';
import { type InsertedRow, insertMessages, type MessageAppend } from './message-insert.sql.ts';

/** The most characters of the messages of one statement, unless a single append has more. */
const MAX_BATCH_LENGTH = 500_000;
/** What a message counts besides its text, so that a statement has at most 200 short messages. */
const LENGTH_OF_MESSAGE = 2_500;

/** Joins the appends of all callers of the process: those that arrive while others are being written share the next statement. */
export interface AppendQueue {
  /** Returns what a separate statement for this append would return. @throws the error of the statement; DomainError REQUEST_TIMEOUT if its turn comes too late */
  append(viewer: Viewer, append: MessageAppend): Promise<readonly InsertedRow[]>;
}

function lengthOf({ messages }: MessageAppend): number {
  return messages.reduce((sum, { content, parts }) => sum + LENGTH_OF_MESSAGE + content.length + estimatedJsonSize(parts), 0);
}

/** The most queues at a time. Each set of rights has its own; a removed queue finishes its appends and is made again when needed. */
const MAX_QUEUES = 1_000;

/**
 * Makes the queue of a process.
 * @param requestTimeoutMs an append that has waited longer is not written any more
 */
export function createAppendQueue(database: Pick<Database, 'rows' | 'trace'>, requestTimeoutMs: number): AppendQueue {
  const queues = new LRUCache<string, GroupCommit<MessageAppend, readonly InsertedRow[]>>({ max: MAX_QUEUES });
  // A statement belongs to several operations, so it runs outside the trace of any.
  const untraced = new AsyncResource('AppendQueue');

  function createGroup(viewer: Viewer): GroupCommit<MessageAppend, readonly InsertedRow[]> {
    const insert = (appends: readonly MessageAppend[], whenLocked: 'wait' | 'skip') =>
      untraced.runInAsyncScope(() => database.rows<InsertedRow>(insertMessages(viewer, appends, whenLocked)));
    return new GroupCommit({
      keyOf: ({ sessionId }) => sessionId,
      weightOf: lengthOf,
      maxWeight: MAX_BATCH_LENGTH,
      maxWaitMs: requestTimeoutMs,
      // Postgres has rolled the statement back. After any other error it may have committed it.
      mayRetryAlone: error => sqlStateOf(error) !== null && toDatabaseFailure(error) === null,
      runAlone: append => insert([append], 'wait'),
      async runBatch(appends): Promise<(readonly InsertedRow[] | null)[]> {
        const results: InsertedRow[][] = appends.map(() => []);
        for (const row of await insert(appends, 'skip')) results[row.append - 1]?.push(row);
        // A session without a status does not exist for the viewer, or another transaction has locked it.
        return results.map(rows => (rows.some(({ status }) => status !== null) ? rows : null));
      },
    });
  }

  return {
    append(viewer, append) {
      const rights = rightsOf(viewer);
      const queue = queues.get(rights) ?? createGroup(viewer);
      queues.set(rights, queue);
      return database.trace(
        () => queue.submit(append),
        () => ({ kind: 'client', name: 'INSERT aria_engine.chat_messages' }),
      );
    },
  };
}
