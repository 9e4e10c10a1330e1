import { AsyncResource } from 'node:async_hooks';
import { LRUCache } from 'lru-cache';
import type { Database } from '../../postgres/database.ts';
import { GroupCommit } from '../../postgres/group-commit.ts';
import { estimatedJsonSize } from '../../postgres/json-size.ts';
import { toDatabaseFailure } from '../../postgres/sql-state.ts';
import { rightsOf, type Viewer } from '../viewer/viewer.rules.ts';
import { type InsertedRow, insertMessages, type MessageAppend } from './message-insert.sql.ts';

/** The most characters of messages, and of columns for each message, in one statement. */
const MAX_BATCH_LENGTH = 500_000;
const LENGTH_OF_MESSAGE = 2_500;

/** Joins appends of all callers of the process: those that arrive while others are being written share the next statement. */
export interface AppendQueue {
  /** Appends as one statement of its own would. @throws the error of the statement; DomainError REQUEST_TIMEOUT if its turn comes too late */
  append(viewer: Viewer, append: MessageAppend): Promise<readonly InsertedRow[]>;
}

function lengthOf({ messages }: MessageAppend): number {
  return messages.reduce((sum, { content, parts }) => sum + LENGTH_OF_MESSAGE + content.length + estimatedJsonSize(parts), 0);
}

/** The most sets of rights with a queue of their own at a time. A queue is made again when it is needed. */
const MAX_QUEUES = 1_000;

/**
 * Makes the queue of a process.
 * @param requestTimeoutMs an append that has waited longer is not written any more
 */
export function createAppendQueue(database: Database, requestTimeoutMs: number): AppendQueue {
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
      mayRetryAlone: error => toDatabaseFailure(error) === null,
      runAlone: append => insert([append], 'wait'),
      async runBatch(appends): Promise<(readonly InsertedRow[] | null)[]> {
        const results: InsertedRow[][] = appends.map(() => []);
        for (const row of await insert(appends, 'skip')) results[row.append - 1]?.push(row);
        // A session without a status does not exist, or another transaction has locked it.
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
