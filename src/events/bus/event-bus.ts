/** Hears that the log has grown up to `lastSeq`; null: unknown, wake-ups may have been lost, so look. */
export type WakeUpListener = (lastSeq: bigint | null) => void;

/**
 * Wakes the readers of the event log in other processes. It may lose wake-ups, repeat them and give them late or out of order: the
 * events themselves are in the table, and a poll stands behind it.
 */
export interface EventBus {
  /** Tells all processes, this one perhaps too, that the log has grown; never fails. */
  announce(lastSeq: bigint): void;
  close(): Promise<void>;
}

/** Opens a bus that calls the listener until it is closed; resolves when wake-ups announced from now on arrive, database permitting. */
export type OpenEventBus = (listener: WakeUpListener) => Promise<EventBus>;
