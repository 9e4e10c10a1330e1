/**
 * Called when another process has announced that the log now ends at `lastSeq`. Null: announcements may have been lost, so the listener must
 * read the end of the log itself.
 */
export type WakeUpListener = (lastSeq: bigint | null) => void;

/**
 * Wakes the readers of the event log in other processes. Wake-ups may be lost, repeated, late or out of order: the events are in the table,
 * and every process also polls it.
 */
export interface EventBus {
  /** Tells all processes, possibly this one too, where the log ends. Never fails. */
  announce(lastSeq: bigint): void;
  close(): Promise<void>;
}

/**
 * Opens a bus, which calls the listener until it is closed. Resolves when the bus receives announcements, or when the first attempt to connect
 * has failed; the bus then keeps trying.
 */
export type OpenEventBus = (listener: WakeUpListener) => Promise<EventBus>;

/** The position in the text of an announcement. Null if the text is malformed. */
export function parseAnnouncement(text: string | undefined): bigint | null {
  return text !== undefined && /^\d{1,19}$/.test(text) ? BigInt(text) : null;
}

/**
 * Publishes the end of the log. One message is in flight at a time; if the log grows meanwhile, one more message follows with the newest end. A
 * message that cannot be sent is dropped, because the next one, or the poll of the receivers, replaces it.
 */
export class Announcer {
  readonly #publish: (text: string) => Promise<unknown>;
  #lastSeq = 0n;
  #isSending = false;
  #isClosed = false;

  constructor(publish: (text: string) => Promise<unknown>) {
    this.#publish = publish;
  }

  announce(lastSeq: bigint): void {
    if (lastSeq > this.#lastSeq) this.#lastSeq = lastSeq;
    if (!this.#isSending) void this.#send();
  }

  close(): void {
    this.#isClosed = true;
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    for (let sent = 0n; sent < this.#lastSeq && !this.#isClosed; ) {
      sent = this.#lastSeq;
      await this.#publish(String(sent)).catch(() => undefined);
    }
    this.#isSending = false;
  }
}
