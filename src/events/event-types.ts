import { z } from 'zod';
import { type SessionEventType, SessionStatus } from '../generated/prisma/enums.ts';

/*
 * A value that is missing or malformed gets a default: an event must reach its subscribers even if another version of the server wrote a
 * payload with other details. Values without a default are required: without them the event means nothing.
 */
const count = z.number().catch(0);
const optionalId = z.string().optional().catch(undefined);

/** A session's usage counters as they were right after a change. Costs are in nano-USD. */
const usage = z
  .object({
    inputTokens: count,
    outputTokens: count,
    cacheReadTokens: count,
    cacheWriteTokens: count,
    totalTokens: count,
    costNanoUsd: count,
  })
  .catch({ inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, totalTokens: 0, costNanoUsd: 0 });

const messagePlace = { messageId: z.string(), position: z.number() };

/** Declares one type of event: its name in the database, and its payload. */
function eventType<Type extends SessionEventType, Payload extends z.ZodRawShape>(type: Type, payload: Payload) {
  return z.object({ type: z.literal(type), payload: z.object(payload) });
}

/**
 * Every type of event that this version writes and reads, with its payload: ids and small values, never content.
 * The types of the writer (event-write.ts) and of the reader (stored-event.ts) follow from this list.
 *
 * docs/contributing.md says how to add a type.
 *
 * Order matters when one transaction changes several sessions, because subscriptions to descendants follow the tree event by event: a new
 * parent's CREATED comes before its children's, and a removed parent's DELETED comes after the UPDATED of its children.
 */
export const EVENT = z.discriminatedUnion('type', [
  /** `parentId`: the session's parent, if it has one. */
  eventType('CREATED', { parentId: optionalId }),
  /**
   * `changed`: names of GraphQL fields. `parentId`: the parent, if this update set it. `formerParentId`: the parent that the session lost,
   * because the parent is being removed for good.
   */
  eventType('UPDATED', {
    changed: z.array(z.string()).readonly(),
    parentId: optionalId,
    formerParentId: optionalId,
  }),
  /** `idleMs`: how long the session had been without activity. */
  eventType('STATUS_CHANGED', {
    from: z.enum(SessionStatus),
    to: z.enum(SessionStatus),
    reason: z.string().nullable().catch(null),
    usage,
    idleMs: count,
  }),
  /** `permanent`: false if the session went to the trash. `parentId`: the parent, if the session was removed for good and had one. */
  eventType('DELETED', { permanent: z.boolean().catch(false), parentId: optionalId }),
  eventType('RESTORED', {}),
  eventType('MESSAGE_ADDED', messagePlace),
  eventType('MESSAGE_DELETED', messagePlace),
]);

type AnyEvent = z.infer<typeof EVENT>;

/** Name of a type of event. */
export type EventType = AnyEvent['type'];

/** The type and payload of an event of one of these types; `type` discriminates. */
export type TypedEvent<Type extends EventType = EventType> = Extract<AnyEvent, { type: Type }>;

/** The payload of one type of event. */
export type EventPayload<Type extends EventType> = TypedEvent<Type>['payload'];

/** The names of all types. */
export const EVENT_TYPES: readonly EventType[] = EVENT.options.map(option => option.shape.type.value);
