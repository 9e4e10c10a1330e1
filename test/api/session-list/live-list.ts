import { expect } from 'vitest';
import { applyListEvent } from '../../../docs/examples/live-list.ts';
import type { TestApp } from '../../support/app.ts';

/** The arguments of a `sessionList` subscription. */
export interface ListArguments {
  readonly filter?: Readonly<Record<string, unknown>>;
  readonly orderBy?: readonly { readonly field: string; readonly direction?: 'ASC' | 'DESC' }[];
  readonly first?: number;
  /** Whether the subscription selects `total`. Default: true. */
  readonly total?: boolean;
}

/** A session with the fields that the tests compare. */
export type Row = Readonly<Record<string, unknown>> & { readonly sessionId: string };

interface Change {
  readonly type: 'ADDED' | 'UPDATED' | 'REMOVED';
  readonly sessionId: string;
  readonly fromIndex: number | null;
  readonly toIndex: number | null;
  readonly node: Row | null;
}

/** An event of `sessionList`. */
export interface ListEvent {
  readonly cursor: string;
  readonly total?: number;
  readonly snapshot: readonly Row[] | null;
  readonly changes: readonly Change[];
}

const ROW = `sessionId title status label priority tags metadata messageCount version createdAt updatedAt lastActivityAt endedAt archivedAt pinnedAt deletedAt
  usage { totalTokens } parent { sessionId }`;
const PARAMETERS = '$filter: SessionFilter, $orderBy: [SessionOrder!], $first: Int';
const ARGUMENTS = 'filter: $filter, orderBy: $orderBy, first: $first';

/** Returns the document of a `sessionList` subscription. */
export function listSubscription(withTotal = true): string {
  return `subscription (${PARAMETERS}) { sessionList(${ARGUMENTS}) { cursor ${withTotal ? 'total' : ''}
    snapshot { ${ROW} } changes { type sessionId fromIndex toIndex node { ${ROW} } } } }`;
}

interface ListContent {
  readonly rows: readonly Row[];
  readonly total: number | undefined;
}

/** A list that is kept current from its events, as in a client. */
export interface LiveList {
  readonly content: ListContent;
  /** All events received so far. */
  readonly events: readonly ListEvent[];
  /** Waits until the list equals the result of the query. @throws Error if an event was inconsistent or the list does not become equal */
  settle(): Promise<void>;
  close(): Promise<void>;
}

/** Subscribes to a list over WebSocket. Resolves after the first event. */
export async function watchList(app: TestApp, { total: withTotal = true, ...list }: ListArguments): Promise<LiveList> {
  const stream = await app.subscribe<{ sessionList: ListEvent }>(listSubscription(withTotal), list);
  const events: ListEvent[] = [];
  let content: ListContent = { rows: [], total: undefined };
  let failure: unknown = null;
  let closed = false;

  function applyEvent(event: ListEvent): void {
    expect(event.snapshot === null).toBe(events.length > 0);
    checkChanges(content.rows, event);
    const rows = applyListEvent(content.rows, event);
    expect(rows.length).toBeLessThanOrEqual(list.first ?? 20);
    expect(new Set(rows.map(({ sessionId }) => sessionId)).size).toBe(rows.length);
    if (event.snapshot === null && event.changes.length === 0) expect(event.total).not.toBe(content.total);
    content = { rows, total: event.total };
    events.push(event);
  }

  applyEvent((await stream.next()).sessionList);
  const following = (async () => {
    try {
      for (;;) applyEvent((await stream.next()).sessionList);
    } catch (error) {
      if (!closed) failure = error;
    }
  })();

  return {
    get content() {
      return content;
    },
    events,
    async settle() {
      const query = `query (${PARAMETERS}) { sessions(${ARGUMENTS}) { ${withTotal ? 'totalCount' : ''} nodes { ${ROW} } } }`;
      const answer = await app.gql<{ sessions: { nodes: readonly Row[]; totalCount?: number } }>(query, list);
      const { nodes, totalCount } = answer.expectOk().sessions;
      await expect
        .poll(
          () => {
            if (failure !== null) throw failure;
            return content;
          },
          { message: JSON.stringify(list) },
        )
        .toEqual({ rows: nodes, total: totalCount });
    },
    async close() {
      closed = true;
      await stream.close();
      await following;
    },
  };
}

/** Checks that each change has the fields of its type and fits the list that the previous changes leave. */
function checkChanges(rows: readonly Row[], { snapshot, changes }: ListEvent): void {
  if (snapshot !== null) expect(changes).toEqual([]);
  const ids = rows.map(({ sessionId }) => sessionId);
  for (const { type, sessionId, fromIndex, toIndex, node } of changes) {
    const actual = { type, from: fromIndex !== null, to: toIndex !== null, node: node?.sessionId };
    expect(actual).toEqual({ type, from: type !== 'ADDED', to: type !== 'REMOVED', node: type === 'REMOVED' ? undefined : sessionId });
    expect(ids.indexOf(sessionId)).toBe(fromIndex ?? -1);
    if (fromIndex !== null) ids.splice(fromIndex, 1);
    if (toIndex !== null) {
      expect(toIndex).toBeLessThanOrEqual(ids.length);
      ids.splice(toIndex, 0, sessionId);
    }
  }
}
