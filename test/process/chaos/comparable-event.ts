import { decodeEventCursor } from '../../../src/events/event-cursor.ts';
import { runSql } from '../../support/sql.ts';

/** An event as the API returns it, with the fields that the subscriptions of the chaos run select. */
interface ApiEvent {
  readonly __typename: string;
  readonly cursor: string;
  readonly occurredAt: string;
  readonly sessionId: string;
  readonly agentId: string;
  readonly changed?: readonly string[];
  readonly from?: string;
  readonly to?: string;
  readonly permanent?: boolean;
  readonly messageId?: string;
  readonly message?: { readonly position: number } | null;
}

/** An event in a form in which received and logged events can be compared. */
export interface ComparableEvent {
  readonly seq: bigint;
  /** All values of the event that never change, in one line of text. */
  readonly line: string;
  /** The position of an added message; null if the message was not returned, and for other events. */
  readonly position: number | null;
}

/** Converts an event that the API returned. */
export function toComparableEvent(apiEvent: unknown): ComparableEvent {
  const event = apiEvent as ApiEvent;
  const seq = decodeEventCursor(event.cursor);
  if (seq === null) throw new Error(`The event has no valid cursor: ${JSON.stringify(apiEvent)}`);
  const detail = [
    event.changed?.join('+') ?? '',
    event.from === undefined ? '' : `${event.from}>${event.to}`,
    event.permanent ?? '',
    event.messageId ?? '',
  ].join('');
  return {
    seq,
    line: `${seq} ${event.__typename} ${event.sessionId} ${event.agentId} ${event.occurredAt} ${detail}`,
    position: event.message?.position ?? null,
  };
}

/** An event read from the table. `position` is that of the added message if the message still exists. */
export interface LoggedEvent extends ComparableEvent {
  /** The row's id. */
  readonly id: string;
  readonly type: string;
  readonly sessionId: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

const LOG = `
select e.seq, e.id, e.type::text as type, e.session_id as "sessionId", e.payload,
  concat(
    e.seq, ' ', case e.type
      when 'CREATED' then 'SessionCreatedEvent' when 'UPDATED' then 'SessionUpdatedEvent'
      when 'STATUS_CHANGED' then 'SessionStatusChangedEvent' when 'DELETED' then 'SessionDeletedEvent'
      when 'RESTORED' then 'SessionRestoredEvent' when 'MESSAGE_ADDED' then 'MessageAddedEvent'
      when 'MESSAGE_DELETED' then 'MessageDeletedEvent'
    end, ' ', e.session_id, ' ', e.agent_id, ' ', to_char(e.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), ' ',
    case e.type
      when 'UPDATED' then (select string_agg(name, '+' order by index) from jsonb_array_elements_text(e.payload -> 'changed')
        with ordinality changed(name, index))
      when 'STATUS_CHANGED' then concat(e.payload ->> 'from', '>', e.payload ->> 'to')
      when 'DELETED' then e.payload ->> 'permanent'
      when 'MESSAGE_DELETED' then e.payload ->> 'messageId'
    end
  ) as line, m.position::int as position
from aria_engine.session_events e
left join aria_engine.chat_messages m on e.type = 'MESSAGE_ADDED' and m.session_id = e.session_id and m.id::text = e.payload ->> 'messageId'
order by e.seq`;

/** Reads all events from the table in log order. @throws Error if an event is not sequenced yet */
export async function readLog(databaseUrl: string): Promise<readonly LoggedEvent[]> {
  const rows = await runSql<Omit<LoggedEvent, 'seq'> & { seq: string | null }>(databaseUrl, LOG);
  return rows.map(({ seq, ...row }) => {
    if (seq === null) throw new Error(`The event is not sequenced: ${JSON.stringify(row)}`);
    return { ...row, seq: BigInt(seq) };
  });
}
