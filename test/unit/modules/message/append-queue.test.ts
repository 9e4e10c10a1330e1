import { describe, expect, it } from 'vitest';
import { DomainError } from '../../../../src/errors.ts';
import { createAppendQueue } from '../../../../src/modules/message/append-queue.service.ts';
import { readMessage } from '../../../../src/modules/message/message.input.ts';
import type { MessageAppend } from '../../../../src/modules/message/message-insert.sql.ts';
import { LOCAL_VIEWER, type Viewer } from '../../../../src/modules/viewer/viewer.rules.ts';
import type { Sql } from '../../../../src/postgres/database.ts';

/** A queue whose statements are recorded and all fail. */
function setUp(failure: unknown) {
  const sent: Sql[] = [];
  const database = {
    rows(statement: Sql) {
      sent.push(statement);
      return Promise.reject(failure);
    },
    trace: <Result>(work: () => Promise<Result>) => work(),
  };
  return { queue: createAppendQueue(database, 60_000), sent };
}

function appendTo(place: number): MessageAppend {
  const id = `0198a000-0000-7000-8000-00000000000${place}`;
  return { sessionId: id, messages: [{ ...readMessage({ role: 'USER', content: 'x' }, 'message'), id, parentPosition: null }] };
}

const agents = (...agentIds: readonly string[]): Viewer => ({ ...LOCAL_VIEWER, agentIds });

describe('appends whose shared statement fails', () => {
  it.each([
    ['are written alone if Postgres rejected a value', Object.assign(new Error('invalid date'), { code: '22007' }), 3],
    ['are not written again if the connection was lost', new Error('Connection terminated unexpectedly'), 1],
    ['are not written again if the database shut down', Object.assign(new Error('shut down'), { code: '57P01' }), 1],
    ['are not written again if the statement took too long', Object.assign(new Error('canceled'), { code: '57014' }), 1],
    // The server closes the connection while it reads the rows: Postgres has already committed.
    ['are not written again if the rows were too large', new DomainError('QUERY_TOO_COMPLEX', 'too large'), 1],
  ])('%s', async (_behavior, failure, statements) => {
    const { queue, sent } = setUp(failure);
    const outcomes = await Promise.allSettled([1, 2].map(place => queue.append(LOCAL_VIEWER, appendTo(place))));
    expect(outcomes).toEqual([1, 2].map(() => ({ status: 'rejected', reason: failure })));
    expect(sent).toHaveLength(statements);
  });
});

describe('appends of several viewers', () => {
  it('share a statement only if the viewers may see the same agents', async () => {
    const { queue, sent } = setUp(new Error('Connection terminated unexpectedly'));
    const viewers = [agents('a', 'b'), agents('b', 'a'), agents('a'), LOCAL_VIEWER, { ...LOCAL_VIEWER, id: 'key:1' }];
    await Promise.allSettled(viewers.map((viewer, index) => queue.append(viewer, appendTo(index))));
    const placesIn = (statement: Sql) => [...viewers.keys()].filter(place => statement.values.flat().includes(appendTo(place).sessionId));
    expect(sent.map(placesIn)).toEqual([[0, 1], [2], [3, 4]]);
  });
});
