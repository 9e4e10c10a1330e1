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

/** What a subscriber wants; what is absent or null lets all pass, an empty list nothing. */
export interface EventRequest<Types extends EventType = EventType> {
  /** UUIDs in lower case; unknown ones are allowed. */
  readonly sessionIds?: readonly string[] | null;
  readonly agentIds?: readonly string[] | null;
  readonly types?: readonly Types[] | null;
  /** Also events of all descendants of `sessionIds`, those that become so later included. */
  readonly includeDescendants?: boolean;
  /** The agents whose events the subscriber may see; null for all. */
  readonly visibleAgents: readonly string[] | null;
  /** First all that matches behind this place of the log, then live; without it, live from now. */
  readonly after?: bigint;
}

/** How it stands, for metrics. */
export interface EventLogGauges {
  /** Open streams. */
  readonly subscriptions: number;
  /** Of these, the ones that are served from the table. */
  readonly behind: number;
  /** Events held in the buffers of all streams. */
  readonly buffered: number;
  /** Sequenced events that this process is known not to have dispatched yet. */
  readonly lag: number;
}

/** The log of what happened to sessions: order, and live streams. Services write the rows, in the transaction of the change. */
export interface EventLog {
  /** To be called after each commit that wrote events; never fails and costs nothing. */
  wake(): void;
  /**
   * Gives everything committed before the call its place in the log.
   * @returns the end of the log
   * @throws DomainError SERVICE_UNAVAILABLE
   */
  sync(): Promise<bigint>;
  /**
   * Opens a stream; nothing committed after it resolves is missed. An event comes once, in the order of the log. A database that is away
   * delays the stream but does not end it. `next` fails, and the stream ends, with CURSOR_EXPIRED where the consumer was so slow that
   * what it wants next has been dropped, and with SERVICE_UNAVAILABLE where the database keeps refusing to give it.
   * @throws DomainError SERVICE_UNAVAILABLE, BAD_CURSOR where `after` lies ahead of the log, CURSOR_EXPIRED where the log no longer
   * reaches back to it
   */
  subscribe<Types extends EventType = EventType>(request: EventRequest<Types>): Promise<AsyncIterableIterator<StoredEvent<Types>>>;
  gauges(): EventLogGauges;
  /** Ends all streams and connections; to call it again changes nothing. */
  close(): Promise<void>;
}

/** What an event log needs. */
export interface EventLogOptions {
  readonly url: string;
  readonly log: Logger;
  /** How processes wake each other; by default LISTEN and NOTIFY. */
  readonly openBus?: OpenEventBus;
  /** How long a wake-up that was lost may delay an event. */
  readonly pollMs?: number;
  /** Most events held for a consumer that does not take them; beyond, it is served from the table. */
  readonly bufferSize?: number;
}

/**
 * Opens the event log of a database: four connections of its own, two more while consumers are behind.
 * @throws the error of pg where the database cannot be reached
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
    onExpired: failLive,
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
  let polling = false;
  let away = false;
  let timer: NodeJS.Timeout | undefined;

  /** Those that are behind find out by themselves how far the log reaches. */
  function failLive(error: Error): void {
    for (const stream of [...streams]) if (!stream.isBehind) stream.fail(error);
  }

  async function poll(): Promise<void> {
    if (polling || closing !== null) return;
    polling = true;
    clearTimeout(timer);
    try {
      const { position } = reader;
      const lastSeq = await sequencer.run();
      if (lastSeq < position) {
        log.error({ position: String(position), lastSeq: String(lastSeq) }, 'the event log went back, as after a restored backup');
        reader.moveTo(lastSeq);
        for (const stream of [...streams]) stream.fail(new EventLogExpiredError());
      } else {
        reader.advance(lastSeq);
      }
      if (away) log.info('the event log is reached again');
      away = false;
    } catch (error) {
      if (!away && closing === null) log.warn({ reason: String(error) }, 'the event log cannot be reached');
      away = true;
    } finally {
      polling = false;
      if (closing === null) timer = setTimeout(() => void poll(), pollMs).unref();
    }
  }

  async function available<Result>(ask: Promise<Result>): Promise<Result> {
    try {
      return await ask;
    } catch (error) {
      if (closing === null) log.warn({ reason: String(error) }, 'the event log cannot be reached');
      throw new DomainError('SERVICE_UNAVAILABLE', 'The event log cannot be reached; try again.');
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

  const sync = () => available(sequencer.run());

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
      const { sessionIds = null, agentIds = null, types = null, includeDescendants = false, visibleAgents, after } = request;
      const now = await sync();
      if (after !== undefined) {
        if (after > now) throw badEventCursor('after');
        if (after < (await available(table.expiredSeq()))) throw new EventLogExpiredError();
      }
      const position = after ?? now;
      const followChildren = includeDescendants && sessionIds !== null && sessionIds.length > 0;
      if (closing !== null) throw new DomainError('SERVICE_UNAVAILABLE', 'The server is shutting down; try again.');
      // Nobody was listening: what the reader has left out meanwhile is nothing to anyone.
      if (streams.size === 0 && reader.position < now) reader.moveTo(now);
      const stream: EventSubscription = new EventSubscription({
        match: { sessionIds, agentIds: both(agentIds, visibleAgents), types, followChildren },
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
        onReadError: error => log.warn({ reason: String(error) }, 'a stream waits for events until the next try'),
      });
      streams.add(stream);
      reader.advance(now);
      // Its filter lets no other types pass.
      return stream as AsyncIterableIterator<StoredEvent<Types>>;
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

/** The agents that are both asked for and visible; null stands for all. */
function both(asked: readonly string[] | null, visible: readonly string[] | null): readonly string[] | null {
  if (asked === null || visible === null) return asked ?? visible;
  return asked.filter(agent => visible.includes(agent));
}
