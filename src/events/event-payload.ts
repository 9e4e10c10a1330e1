import { SessionStatus } from '../generated/prisma/enums.ts';

/** Counters of a session as they stood right after a change; costs in nano-USD. */
export interface EventUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWriteTokens: number;
  readonly totalTokens: number;
  readonly costNanoUsd: number;
}

/**
 * What the payload column holds for each type of event: ids and small values, never content.
 * Services write these beside the change. Of sessions created together, a parent's CREATED is written before its children's:
 * subscriptions to descendants follow the tree in the order of the log.
 */
export interface EventPayloads {
  readonly CREATED: { readonly parentId?: string };
  /**
   * `changed`: names of GraphQL fields; `parentId`: where this update set the parent; `formerParentId`: where it took the parent away,
   * which is being removed for good.
   */
  readonly UPDATED: { readonly changed: readonly string[]; readonly parentId?: string; readonly formerParentId?: string };
  /** `idleMs`: how long the session had been without activity. */
  readonly STATUS_CHANGED: {
    readonly from: SessionStatus;
    readonly to: SessionStatus;
    readonly reason: string | null;
    readonly usage: EventUsage;
    readonly idleMs: number;
  };
  /** `parentId`: whose child it was, where it is permanent. It comes after the UPDATED of its own children. */
  readonly DELETED: { readonly permanent: boolean; readonly parentId?: string };
  readonly RESTORED: Readonly<Record<string, never>>;
  readonly MESSAGE_ADDED: { readonly messageId: string; readonly position: number };
  readonly MESSAGE_DELETED: { readonly messageId: string; readonly position: number };
}

/** The types of event this version writes and reads. */
export type EventType = keyof EventPayloads;

/** All of them. */
export const EVENT_TYPES: readonly EventType[] = [
  'CREATED',
  'UPDATED',
  'STATUS_CHANGED',
  'DELETED',
  'RESTORED',
  'MESSAGE_ADDED',
  'MESSAGE_DELETED',
];

/** An event of one type, sequenced: `seq` is its place in the log, which all readers agree on. */
export interface StoredEventOf<Type extends EventType> {
  readonly seq: bigint;
  /** The row's own number, drawn when it was written: not the order of the log. */
  readonly id: bigint;
  readonly occurredAt: Date;
  /** UUID. */
  readonly sessionId: string;
  readonly agentId: string;
  readonly type: Type;
  readonly payload: EventPayloads[Type];
}

/** An event of one of some types; `type` tells which. */
export type EventOf<Types extends EventType> = { [Type in Types]: StoredEventOf<Type> }[Types];

/** Any sequenced event. */
export type StoredEvent = EventOf<EventType>;

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
 * The event of a row; null for a type this version does not know (a newer server may write to the same log) and for a payload
 * that is not what its type demands.
 */
export function toStoredEvent(row: EventRow): StoredEvent | null {
  const payload: Fields = isFields(row.payload) ? row.payload : {};
  const common = {
    seq: BigInt(row.seq),
    id: BigInt(row.id),
    occurredAt: new Date(Number(row.occurredAtMs)),
    sessionId: row.sessionId,
    agentId: row.agentId,
  };
  switch (row.type) {
    case 'CREATED':
      return { ...common, type: row.type, payload: toParent(payload) };
    case 'UPDATED':
      if (!isTexts(payload.changed)) return null;
      return { ...common, type: row.type, payload: { changed: payload.changed, ...toParent(payload), ...toFormerParent(payload) } };
    case 'STATUS_CHANGED': {
      const { from, to, reason, idleMs } = payload;
      if (!isStatus(from) || !isStatus(to)) return null;
      return {
        ...common,
        type: row.type,
        payload: {
          from,
          to,
          reason: typeof reason === 'string' ? reason : null,
          usage: toUsage(payload.usage),
          idleMs: toCount(idleMs),
        },
      };
    }
    case 'DELETED':
      return { ...common, type: row.type, payload: { permanent: payload.permanent === true, ...toParent(payload) } };
    case 'RESTORED':
      return { ...common, type: row.type, payload: {} };
    case 'MESSAGE_ADDED':
    case 'MESSAGE_DELETED': {
      const { messageId, position } = payload;
      if (typeof messageId !== 'string' || typeof position !== 'number') return null;
      return { ...common, type: row.type, payload: { messageId, position } };
    }
    default:
      return null;
  }
}

/** The parent this event gave its session, null where it gave none. */
export function linkedParent(event: StoredEvent): string | null {
  return event.type === 'CREATED' || event.type === 'UPDATED' ? (event.payload.parentId ?? null) : null;
}

/** The parent whose child this event says its session was until now, null where it says nothing of the kind. */
export function leftParent(event: StoredEvent): string | null {
  if (event.type === 'UPDATED') return event.payload.formerParentId ?? null;
  return event.type === 'DELETED' ? (event.payload.parentId ?? null) : null;
}

type Fields = Readonly<Record<string, unknown>>;

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(item => typeof item === 'string');
}

function isStatus(value: unknown): value is SessionStatus {
  return typeof value === 'string' && Object.hasOwn(SessionStatus, value);
}

function toParent({ parentId }: Fields): { readonly parentId?: string } {
  return typeof parentId === 'string' ? { parentId } : {};
}

function toFormerParent({ formerParentId }: Fields): { readonly formerParentId?: string } {
  return typeof formerParentId === 'string' ? { formerParentId } : {};
}

function toCount(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}

function toUsage(value: unknown): EventUsage {
  const usage: Fields = isFields(value) ? value : {};
  return {
    inputTokens: toCount(usage.inputTokens),
    outputTokens: toCount(usage.outputTokens),
    cacheReadTokens: toCount(usage.cacheReadTokens),
    cacheWriteTokens: toCount(usage.cacheWriteTokens),
    totalTokens: toCount(usage.totalTokens),
    costNanoUsd: toCount(usage.costNanoUsd),
  };
}
