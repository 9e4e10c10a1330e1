import type { Socket } from 'node:net';
import type { RandomSource } from '../../../scripts/seed/random-source.ts';
import { encodeEventCursor } from '../../../src/events/event-cursor.ts';
import type { ChaosServers } from './chaos-servers.ts';
import { openCuttableStream, type StreamResult, type StreamTransport } from './cuttable-stream.ts';
import type { SubscriberKind } from './subscriber-kind.ts';
import { type ToldEvent, toToldEvent } from './told-event.ts';

/** How a connection is lost: closed without a goodbye, reset, or left open by a client that neither reads nor answers any more. */
export const CUTS = ['destroy', 'reset', 'abandon'] as const;
export type Cut = (typeof CUTS)[number];

/** What a subscriber is. */
export interface SubscriberOptions {
  readonly kind: SubscriberKind;
  readonly transport: StreamTransport;
  readonly servers: ChaosServers;
  readonly random: RandomSource;
  /** Called once, for what no client has to expect. */
  readonly onFault: (error: Error) => void;
}

const RECONNECT_MS = 200;

/** A client that resumes by itself, with the cursor of the last event it has, at one server or the other. */
export class ChaosSubscriber {
  /** Every event it was given, in the order it came. */
  readonly told: ToldEvent[] = [];
  readonly name: string;
  readonly kind: SubscriberKind;
  readonly #options: SubscriberOptions;
  readonly #abandoned: Socket[] = [];
  /** What happened to its connections, for the report of a fault. */
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

  /** True while it has a connection on which it has subscribed. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** What happened to its connections lately. */
  get journal(): string {
    return this.#journal.slice(-12).join('\n');
  }

  /** Connects; what it is told begins with the beginning of the log. */
  start(): void {
    const { kind, transport, servers, random } = this.#options;
    const last = this.told.at(-1)?.seq ?? 0n;
    const url = servers.pick(random);
    // An event stream is given the `after` it began with, as an EventSource would: the last event's id must win.
    const after = encodeEventCursor(transport === 'sse' ? 0n : last);
    const operation = { query: kind.query, variables: { ...kind.variables, after } };
    const isCurrent = () => this.#socket === socket;
    const socket = openCuttableStream(transport, url, operation, this.#lastEventId, {
      onOpen: () => {
        if (!isCurrent()) return;
        this.#isOpen = true;
        this.#note(`connected to ${url} behind ${last}`);
      },
      onResult: (result, id) => {
        if (isCurrent()) this.#take(result, id);
      },
      onPlace: id => {
        if (isCurrent()) this.#lastEventId = id;
      },
      onEnd: reason => {
        if (!isCurrent()) return;
        this.#note(reason);
        this.#lose(RECONNECT_MS);
      },
    });
    this.connections += 1;
    this.#socket = socket;
  }

  /** Takes its connection away. */
  cut(how: Cut): void {
    const socket = this.#socket;
    this.#note(how);
    this.#lose(this.#options.random.integer(0, 20));
    this.#end(socket, how);
  }

  /** Reads nothing for a while, and then goes on over the same connection. */
  stall(milliseconds: number): void {
    const socket = this.#socket;
    socket?.pause();
    setTimeout(() => socket?.resume(), milliseconds);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#end(this.#socket, 'destroy');
    for (const socket of this.#abandoned) socket.destroy();
  }

  #note(text: string): void {
    this.#journal.push(`${new Date().toISOString()} ${text}, last event ${this.told.at(-1)?.seq ?? 'none'}`);
  }

  #end(socket: Socket | null, how: Cut): void {
    if (how === 'destroy') socket?.destroy();
    else if (how === 'reset') socket?.resetAndDestroy();
    else if (socket !== null) this.#abandoned.push(socket.pause());
  }

  #lose(afterMs: number): void {
    this.#socket = null;
    this.#isOpen = false;
    if (!this.#closed) this.#retry = setTimeout(() => this.start(), afterMs);
  }

  #take({ data, errors = [] }: StreamResult, id: string | null): void {
    const event = data?.[this.kind.field];
    const fatal = errors.find(({ extensions }) => !extensions.retryable);
    if (fatal !== undefined) {
      this.#options.onFault(new Error(`${this.name}: ${JSON.stringify(errors)}\n${this.journal}`));
    } else if (event === undefined || event === null) {
      // The event could not be answered, or the subscription not begun: what a client does then is to come again.
      this.#note(JSON.stringify(errors));
      const socket = this.#socket;
      this.#lose(RECONNECT_MS);
      socket?.destroy();
    } else {
      const told = toToldEvent(event);
      if (id !== null && id !== encodeEventCursor(told.seq)) {
        this.#options.onFault(new Error(`${this.name}: the id ${id} is not that of the event ${told.line}`));
      }
      this.#lastEventId = id;
      this.told.push(told);
    }
  }
}
