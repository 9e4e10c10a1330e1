import { badEventCursor, encodeEventCursor, readEventCursor } from '../../events/event-cursor.ts';
import type { EventLog } from '../../events/event-log.ts';
import { EventLogExpiredError } from '../../events/event-table.ts';
import { EVENT_TYPES } from '../../events/event-types.ts';
import { type EventRow, type StoredEvent, toStoredEvent } from '../../events/stored-event.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { byKey, LoaderSet, type OfParent, pagesByParent } from '../../postgres/batching.ts';
import { type Executor, PREPARED, type Sql } from '../../postgres/database.ts';
import {
  allOf,
  emptyPage,
  keysetConditions,
  type Ordering,
  orderList,
  type Page,
  type PageWindow,
  rowsToRead,
} from '../../postgres/keyset.ts';
import type { Viewer } from '../viewer/viewer.rules.ts';
import { visibleAgents } from '../viewer/viewer.sql.ts';

/** The order of the log. Its cursors are those of subscriptions and valid with any filter. */
export const EVENT_ORDERING: Ordering = {
  terms: [{ expression: Prisma.sql`e.seq`, type: 'bigint', descending: false }],
  fingerprint: 'events',
  readCursor: (text, field) => [String(readEventCursor(text, field))],
};

// All columns are read, whatever is selected: they are small, and the payload determines the event.
const COLUMNS = Prisma.sql`e.seq::text as "seq", e.id::text as "id", (extract(epoch from e.occurred_at) * 1000)::bigint::text as "occurredAtMs",
  e.session_id as "sessionId", e.agent_id as "agentId", e.type::text as "type", e.payload`;

/** An event, or null columns if the session has none, with the position up to which events have been dropped. */
type ReadEvent = OfParent & { readonly expiredSeq: string } & (EventRow | { readonly seq: null });

/** Reads the events of sessions from the log for one operation. Equal loads share a statement. */
export class EventLoader {
  readonly #database: Executor;
  readonly #log: Pick<EventLog, 'sync'>;
  readonly #condition: Sql;
  readonly #pages = new LoaderSet<string, Page<StoredEvent>>();
  readonly #counts = new LoaderSet<string, number>();

  constructor(database: Executor, viewer: Viewer, log: Pick<EventLog, 'sync'>) {
    this.#database = database;
    this.#log = log;
    // A newer server may write other types to the same log.
    this.#condition = allOf([
      Prisma.sql`e.seq is not null`,
      Prisma.sql`e.type = any(${[...EVENT_TYPES]}::aria_engine.session_event_type[])`,
      visibleAgents(viewer, Prisma.sql`e.agent_id`),
    ]);
  }

  /**
   * A page of one session's events, including everything committed before the call. Loads of several sessions with the same window share a
   * statement.
   * @throws DomainError BAD_CURSOR if a cursor is beyond the end of the log, CURSOR_EXPIRED if events after `after` have been dropped,
   * SERVICE_UNAVAILABLE
   */
  ofSession(sessionId: string, window: PageWindow): Promise<Page<StoredEvent>> {
    if (window.limit === 0) return Promise.resolve(emptyPage(window));
    return this.#pages.of(JSON.stringify(window), ids => this.#readPages(ids, window)).load(sessionId);
  }

  /** The number of events of one session in the log. Loads of several sessions share a statement. @throws DomainError SERVICE_UNAVAILABLE */
  count(sessionId: string): Promise<number> {
    return this.#counts
      .of('', async ids => {
        await this.#log.sync();
        const rows = await this.#database.rows<{ id: string; count: number }>(Prisma.sql`${Prisma.raw(PREPARED)}
          select e.session_id as "id", count(*)::int as "count" from aria_engine.session_events e
          where e.session_id = any(${[...ids]}::uuid[]) and ${this.#condition} group by e.session_id`);
        return byKey(ids, rows, row => row.id).map(row => row?.count ?? 0);
      })
      .load(sessionId);
  }

  async #readPages(ids: readonly string[], window: PageWindow): Promise<Page<StoredEvent>[]> {
    assertWithinLog(window, await this.#log.sync());
    const conditions = allOf([Prisma.sql`e.session_id = parent.id`, this.#condition, ...keysetConditions(EVENT_ORDERING, window)]);
    // The same statement reads how far the log has been dropped. That is recorded before a partition is dropped, so dropped events are always
    // noticed.
    const rows = await this.#database.rows<ReadEvent>(Prisma.sql`${Prisma.raw(PREPARED)}
      select event.*, parent.place::int as "listParent", state.expired_seq::text as "expiredSeq"
      from aria_engine.event_log_state state cross join unnest((select ${[...ids]}::uuid[])) with ordinality parent(id, place) left join lateral (
        select ${COLUMNS} from aria_engine.session_events e
        where ${conditions} order by ${orderList(EVENT_ORDERING, window)} limit (select ${rowsToRead(window)}::int)
      ) event on true`);
    const [after] = window.after ?? [];
    if (after !== undefined && rows.some(row => BigInt(row.expiredSeq) > BigInt(after))) throw new EventLogExpiredError();
    const found = rows.filter(row => row.seq !== null);
    return pagesByParent(ids, found, window, EVENT_ORDERING).map(toEvents);
  }
}

function assertWithinLog({ after, before }: PageWindow, end: bigint): void {
  for (const [field, position] of Object.entries({ after, before })) {
    if (position?.[0] !== undefined && BigInt(position[0]) > end) throw badEventCursor(field);
  }
}

function toEvents(page: Page<EventRow>): Page<StoredEvent> {
  const rows = page.rows.map(toStoredEvent).filter(event => event !== null);
  return {
    ...page,
    rows,
    cursorAt(index) {
      const event = rows[index];
      return event === undefined ? null : encodeEventCursor(event.seq);
    },
  };
}
