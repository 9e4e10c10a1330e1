import { EVENT, type EventType, type TypedEvent } from './event-types.ts';

interface Sequenced {
  /** The event's position in the log, which is the same for all readers. */
  readonly seq: bigint;
  /** Drawn when the row was written. The order of the log is that of `seq`. */
  readonly id: bigint;
  readonly occurredAt: Date;
  /** UUID. */
  readonly sessionId: string;
  readonly agentId: string;
}

/** A sequenced event of one of these types; `type` discriminates. */
export type StoredEvent<Type extends EventType = EventType> = Sequenced & Readonly<TypedEvent<Type>>;

/** The columns of an event as Postgres sends them: 64-bit integers as text, `occurredAtMs` since 1970. */
export interface EventRow {
  readonly seq: string;
  readonly id: string;
  readonly occurredAtMs: string;
  readonly sessionId: string;
  readonly agentId: string;
  readonly type: string;
  readonly payload: unknown;
}

/**
 * The event of a row. Null if this version does not know its type, because a newer server may write to the same log, or if the payload
 * does not fit the type.
 */
export function toStoredEvent(row: EventRow): StoredEvent | null {
  const event = EVENT.safeParse(row);
  if (!event.success) return null;
  return {
    seq: BigInt(row.seq),
    id: BigInt(row.id),
    occurredAt: new Date(Number(row.occurredAtMs)),
    sessionId: row.sessionId,
    agentId: row.agentId,
    ...event.data,
  };
}

/** The parent that this event gave its session. Null if it gave none. */
export function linkedParent(event: StoredEvent): string | null {
  return event.type === 'CREATED' || event.type === 'UPDATED' ? (event.payload.parentId ?? null) : null;
}

/** The parent that this event took from its session. Null if it took none. */
export function leftParent(event: StoredEvent): string | null {
  if (event.type === 'UPDATED') return event.payload.formerParentId ?? null;
  return event.type === 'DELETED' ? (event.payload.parentId ?? null) : null;
}
