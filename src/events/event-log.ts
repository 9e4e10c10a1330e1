import { DomainError } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { EventBus, OpenEventBus } from './bus/event-bus.ts';
import { createPostgresBus } from './bus/postgres-bus.ts';
import { EventDispatcher } from './dispatcher.ts';
import { badEventCursor } from './event-cursor.ts';
import { EventReader } from './event-reader.ts';
import { EventSubscription } from './event-subscription.ts';
import { createEventTable, EventLogExpiredError } from './event-table.ts';
import type { EventType } from './event-types.ts';
import { createSequencer } from './sequencer.ts';
import type { StoredEvent } from './stored-event.ts';

/** Which events a subscriber wants. A filter that is absent or null accepts all events; an empty list accepts none. */
export interface EventRequest<Types extends EventType = EventType> {
  /** UUIDs in lower case. Sessions need not exist. */
  readonly sessionIds?: readonly string[] | null;
  readonly agentIds?: readonly string[] | null;
  readonly types?: readonly Types[] | null;
  /** Also events of all descendants of `sessionIds`, including later ones. */
  readonly includeDescendants?: boolean;
  /** End the stream after the event that removes one of `sessionIds` for good. `types` must not have DELETED then. */
  readonly endsWithSession?: boolean;
  /** The agents whose events the subscriber may see. Null for all. */
  readonly visibleAgents: readonly string[] | null;
  /** Start with the events after this position of the log. By default, with the events from now on. */
  readonly after?: bigint;
}

/** The matching events, in the order of the log. */
export interface EventStream<Types extends EventType = EventType> extends AsyncIterableIterator<StoredEvent<Types>> {
  /** Ends the stream after the matching events up to a position of the log. Call this before the first `next`. */
  endAt(position: bigint): void;
}

/** The state of the log, for metrics. */
export interface EventLogGauges {
  /** Open streams. */
  readonly subscriptions: number;
  /** Streams that read from the table because they are behind. */
  readonly behind: number;
  /** Events in the buffers of all streams. */
  readonly buffered: number;
  /** Sequenced events that this process knows of and has not dispatched. */
  readonly lag: number;
}

/** The log of events of sessions, and streams of it. Services write events in the transaction of the change (event-write.ts). */
export interface EventLog {
  /** Call this after each commit that wrote events. Returns immediately and never fails. */
  wake(): void;
  /**
   * Sequences everything that was committed before the call.
   * @returns the end of the log
   * @throws DomainError SERVICE_UNAVAILABLE
   */
  sync(): Promise<bigint>;
  /**
   * Opens a stream. It delivers every matching event once, in the order of the log, and misses none that is committed after this resolves. If the
   * database becomes unreachable, the stream waits. `next` rejects, and the stream ends, with CURSOR_EXPIRED if the next event was dropped
   * because the consumer was too slow, and with SERVICE_UNAVAILABLE if the database keeps rejecting the statements.
   * @throws DomainError SERVICE_UNAVAILABLE; BAD_CURSOR if `after` is beyond the end of the log; CURSOR_EXPIRED if the events after it have been
   * dropped
   */
  subscribe<Types extends EventType = EventType>(request: EventRequest<Types>): Promise<EventStream<Types>>;
  gauges(): EventLogGauges;
  /** Ends all streams and closes all connections. Later calls have no effect. */
  close(): Promise<void>;
}

export interface EventLogOptions {
  readonly url: string;
  readonly log: Logger;
  /** How processes wake each other. By default with LISTEN and NOTIFY. */
  readonly openBus?: OpenEventBus;
  /** How often the log is polled. A lost wake-up delays an event by at most this long. */
  readonly pollMs?: number;
  /** Maximum events buffered for a slow consumer. */
  readonly bufferSize?: number;
}

/**
 * Opens the event log of a database. It uses three connections outside the pool, and up to two more once a stream was behind.
 * @throws the error of pg if the database is unreachable
 */
export async function createEventLog(options: EventLogOptions): Promise<EventLog> {
  const { url, log, pollMs = 1_000, bufferSize = 256, openBus = createPostgresBus({ url, log }) } = options;
  const streams = new Set<EventSubscription>();
  const dispatcher = new EventDispatcher();
  const table = createEventTable({ url, log });
  const reader = new EventReader({
    table,
    log,
    isNeeded: () => streams.size > 0,
    onEvent: event => dispatcher.dispatch(event),
    onExpired: failLiveStreams,
  });
  let bus: EventBus | null = null;
  const sequencer = createSequencer({
    url,
    log,
    onSequenced(lastSeq) {
      reader.advance(lastSeq);
      bus?.announce(lastSeq);
    },
  });
  let closing: Promise<void> | null = null;
  let isPolling = false;
  let isUnreachable = false;
  let timer: NodeJS.Timeout | undefined;

  /** Streams that are behind notice by themselves which events were dropped. */
  function failLiveStreams(error: Error): void {
    for (const stream of [...streams]) if (!stream.isBehind) stream.fail(error);
  }

  async function poll(): Promise<void> {
    if (isPolling || closing !== null) return;
    isPolling = true;
    clearTimeout(timer);
    try {
      const { position } = reader;
      const lastSeq = await sequencer.run();
      if (lastSeq < position) {
        log.error({ position: String(position), lastSeq: String(lastSeq) }, 'the event log went back, as after restoring a backup');
        reader.moveTo(lastSeq);
        for (const stream of [...streams]) stream.fail(new EventLogExpiredError());
      } else {
        reader.advance(lastSeq);
      }
      if (isUnreachable) log.info('the event log is reachable again');
      isUnreachable = false;
    } catch (error) {
      if (!isUnreachable && closing === null) log.warn({ reason: String(error) }, 'the event log is unreachable');
      isUnreachable = true;
    } finally {
      isPolling = false;
      if (closing === null) timer = setTimeout(() => void poll(), pollMs).unref();
    }
  }

  async function orUnavailable<Result>(result: Promise<Result>): Promise<Result> {
    try {
      return await result;
    } catch (error) {
      if (closing === null) log.warn({ reason: String(error) }, 'the event log is unreachable');
      throw new DomainError('SERVICE_UNAVAILABLE', 'The event log is unreachable. Try again.');
    }
  }

  function close(): Promise<void> {
    closing ??= shutDown();
    return closing;
  }

  async function shutDown(): Promise<void> {
    clearTimeout(timer);
    for (const stream of [...streams]) stream.end();
    reader.close();
    await Promise.all([bus?.close(), sequencer.close(), table.close()]);
  }

  const sync = () => orUnavailable(sequencer.run());

  try {
    reader.moveTo(await sequencer.run());
    bus = await openBus(lastSeq => {
      if (lastSeq === null) void poll();
      else reader.advance(lastSeq);
    });
  } catch (error) {
    await close();
    throw error;
  }
  void poll();

  return {
    wake: () => sequencer.wake(),
    sync,
    async subscribe<Types extends EventType>(request: EventRequest<Types>) {
      const {
        sessionIds = null,
        agentIds = null,
        types = null,
        includeDescendants = false,
        endsWithSession,
        visibleAgents,
        after,
      } = request;
      const now = await sync();
      if (after !== undefined) {
        if (after > now) throw badEventCursor('after');
        if (after < (await orUnavailable(table.expiredSeq()))) throw new EventLogExpiredError();
      }
      const position = after ?? now;
      const followChildren = includeDescendants && sessionIds !== null && sessionIds.length > 0;
      if (closing !== null) throw new DomainError('SERVICE_UNAVAILABLE', 'The server is shutting down. Try again.');
      // Without streams the reader has stopped. Nobody needs the events that it has not read.
      if (streams.size === 0 && reader.position < now) reader.moveTo(now);
      const stream: EventSubscription = new EventSubscription({
        match: { sessionIds, agentIds: intersectionOf(agentIds, visibleAgents), types, followChildren, endsWithSession },
        position,
        bufferSize,
        backlog: {
          get position() {
            return reader.position;
          },
          recent: from => reader.recent(from),
          ...table.readingFor({ isOpen: () => streams.has(stream) }),
        },
        registry: dispatcher,
        onEnd: ended => streams.delete(ended),
        onReadError: error => log.warn({ reason: String(error) }, 'cannot read events for a stream; will retry'),
      });
      streams.add(stream);
      reader.advance(now);
      // The filter accepts no other types.
      return stream as EventSubscription & EventStream<Types>;
    },
    gauges() {
      const all = [...streams];
      return {
        subscriptions: all.length,
        behind: all.filter(stream => stream.isBehind).length,
        buffered: all.reduce((sum, stream) => sum + stream.buffered, 0),
        lag: Number(reader.lag),
      };
    },
    close,
  };
}

/** The agents that are in both lists. Null stands for all agents. */
function intersectionOf(requested: readonly string[] | null, visible: readonly string[] | null): readonly string[] | null {
  if (requested === null || visible === null) return requested ?? visible;
  return requested.filter(agent => visible.includes(agent));
}
