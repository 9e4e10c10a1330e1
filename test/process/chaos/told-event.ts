import { decodeEventCursor } from '../../../src/events/event-cursor.ts';
import { runSql } from '../../support/sql.ts';

/** What all events have in answers. */
interface AnsweredEvent {
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

/** An event as a client was told of it, or as it should be. */
export interface ToldEvent {
  readonly seq: bigint;
  /** All of it that never changes, as one text to compare. */
  readonly line: string;
  /** Of a message that is added, null where the message could not be had. */
  readonly position: number | null;
}

/** Reads an event from an answer. */
export function toToldEvent(answer: unknown): ToldEvent {
  const event = answer as AnsweredEvent;
  const seq = decodeEventCursor(event.cursor);
  if (seq === null) throw new Error(`Not a cursor: ${JSON.stringify(answer)}`);
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

/** An event of the log; of a message that is added and still there, its position. */
export interface LoggedEvent extends ToldEvent {
  /** Of the row. */
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
      when 'UPDATED' then (select string_agg(name, '+' order by place) from jsonb_array_elements_text(e.payload -> 'changed')
        with ordinality changed(name, place))
      when 'STATUS_CHANGED' then concat(e.payload ->> 'from', '>', e.payload ->> 'to')
      when 'DELETED' then e.payload ->> 'permanent'
      when 'MESSAGE_DELETED' then e.payload ->> 'messageId'
    end
  ) as line, m.position::int as position
from aria_engine.session_events e
left join aria_engine.chat_messages m on e.type = 'MESSAGE_ADDED' and m.session_id = e.session_id and m.id::text = e.payload ->> 'messageId'
order by e.seq`;

/** The whole log, from the table. @throws Error where an event has no place in it */
export async function readLog(databaseUrl: string): Promise<readonly LoggedEvent[]> {
  const rows = await runSql<Omit<LoggedEvent, 'seq'> & { seq: string | null }>(databaseUrl, LOG);
  return rows.map(({ seq, ...row }) => {
    if (seq === null) throw new Error(`An event has no place in the log: ${JSON.stringify(row)}`);
    return { ...row, seq: BigInt(seq) };
  });
}
