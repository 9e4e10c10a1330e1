import type { Socket } from 'node:net';
import type { RandomSource } from '../../../scripts/seed/random-source.ts';
import { encodeEventCursor } from '../../../src/events/event-cursor.ts';
import type { ChaosServers } from './chaos-servers.ts';
import { type ComparableEvent, toComparableEvent } from './comparable-event.ts';
import { openSocketStream, type StreamResult, type StreamTransport } from './socket-stream.ts';
import type { SubscriberKind } from './subscriber-kind.ts';

/** How a connection breaks: closed without a close frame, reset, or left open by a client that no longer reads or responds. */
export const DISCONNECT_KINDS = ['destroy', 'reset', 'abandon'] as const;
export type DisconnectKind = (typeof DISCONNECT_KINDS)[number];

/** The subscription, transport and servers of a subscriber. */
export interface SubscriberOptions {
  readonly kind: SubscriberKind;
  readonly transport: StreamTransport;
  readonly servers: ChaosServers;
  readonly random: RandomSource;
  /** Receives errors that no client has to expect. */
  readonly onFailure: (error: Error) => void;
}

const RECONNECT_MS = 200;

/** A client that reconnects to a random server and resumes after the last event it received. */
export class ChaosSubscriber {
  /** Every event received, in order of arrival. */
  readonly received: ComparableEvent[] = [];
  readonly name: string;
  readonly kind: SubscriberKind;
  readonly #options: SubscriberOptions;
  readonly #abandoned: Socket[] = [];
  /** What happened to its connections, for error messages. */
  readonly #journal: string[] = [];
  #socket: Socket | null = null;
  #isOpen = false;
  #closed = false;
  #lastEventId: string | null = null;
  #retry: NodeJS.Timeout | undefined;
  connections = 0;

  constructor(options: SubscriberOptions) {
    this.#options = options;
    this.kind = options.kind;
    this.name = `${options.kind.name} over ${options.transport}`;
  }

  /** True while it has a connection on which it sent the subscription. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The latest entries of the journal. */
  get journal(): string {
    return this.#journal.slice(-12).join('\n');
  }

  /** Connects and subscribes after the last received event; at first, from the start of the log. */
  start(): void {
    const { kind, transport, servers, random } = this.#options;
    const last = this.received.at(-1)?.seq ?? 0n;
    const url = servers.pick(random);
    // An EventSource keeps the URL, and so the `after`, of its first request. `Last-Event-ID` must take precedence over it.
    const after = encodeEventCursor(transport === 'sse' ? 0n : last);
    const operation = { query: kind.query, variables: { ...kind.variables, after } };
    const isCurrent = () => this.#socket === socket;
    const socket = openSocketStream(transport, url, operation, this.#lastEventId, {
      onOpen: () => {
        if (!isCurrent()) return;
        this.#isOpen = true;
        this.#note(`connected to ${url} after event ${last}`);
      },
      onResult: (result, id) => {
        if (isCurrent()) this.#receive(result, id);
      },
      onLastEventId: id => {
        if (isCurrent()) this.#lastEventId = id;
      },
      onEnd: reason => {
        if (!isCurrent()) return;
        this.#note(reason);
        this.#reconnect(RECONNECT_MS);
      },
    });
    this.connections += 1;
    this.#socket = socket;
  }

  /** Breaks its connection. */
  disconnect(kind: DisconnectKind): void {
    const socket = this.#socket;
    this.#note(kind);
    this.#reconnect(this.#options.random.integer(0, 20));
    this.#breakSocket(socket, kind);
  }

  /** Stops reading for a while, then continues on the same connection. */
  stall(milliseconds: number): void {
    const socket = this.#socket;
    socket?.pause();
    setTimeout(() => socket?.resume(), milliseconds);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#breakSocket(this.#socket, 'destroy');
    for (const socket of this.#abandoned) socket.destroy();
  }

  #note(text: string): void {
    this.#journal.push(`${new Date().toISOString()} ${text}, last event ${this.received.at(-1)?.seq ?? 'none'}`);
  }

  #breakSocket(socket: Socket | null, kind: DisconnectKind): void {
    if (kind === 'destroy') socket?.destroy();
    else if (kind === 'reset') socket?.resetAndDestroy();
    else if (socket !== null) this.#abandoned.push(socket.pause());
  }

  #reconnect(afterMs: number): void {
    this.#socket = null;
    this.#isOpen = false;
    if (!this.#closed) this.#retry = setTimeout(() => this.start(), afterMs);
  }

  #receive({ data, errors = [] }: StreamResult, id: string | null): void {
    const event = data?.[this.kind.field];
    const fatalError = errors.find(({ extensions }) => !extensions.retryable);
    if (fatalError !== undefined) {
      this.#options.onFailure(new Error(`${this.name}: ${JSON.stringify(errors)}\n${this.journal}`));
    } else if (event === undefined || event === null) {
      // A retryable error: the server could not resolve the event or start the subscription. Clients reconnect in this case.
      this.#note(JSON.stringify(errors));
      const socket = this.#socket;
      this.#reconnect(RECONNECT_MS);
      socket?.destroy();
    } else {
      const received = toComparableEvent(event);
      if (id !== null && id !== encodeEventCursor(received.seq)) {
        this.#options.onFailure(new Error(`${this.name}: the event has the id ${id}, which is not its cursor: ${received.line}`));
      }
      this.#lastEventId = id;
      this.received.push(received);
    }
  }
}
