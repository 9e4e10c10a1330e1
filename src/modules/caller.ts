import type { Config } from '../config.ts';
import type { Models, Transactor } from '../postgres/database.ts';
import type { CallsInFlight } from './idempotency/calls-in-flight.service.ts';
import type { AppendQueue } from './message/append-queue.service.ts';
import type { Viewer } from './viewer/viewer.rules.ts';

/** What a service needs to know about the call: who calls, and the database and settings to use. */
export interface Caller {
  readonly viewer: Viewer;
  readonly database: Transactor;
  /** Prisma's models: for reads and writes that share no transaction with an event. */
  readonly models: Models;
  readonly settings: Config['sessions'];
  /** Call this after a commit that wrote events. They are then delivered immediately and not at the next poll. */
  readonly eventsWritten: () => void;
  /** One for the whole process. */
  readonly callsInFlight: CallsInFlight;
  /** One for the whole process; null if the call is part of a transaction. */
  readonly appendQueue: AppendQueue | null;
}
