-- Every session that has ended has an end: `endedAt: null` could clear it.
update "aria_engine"."chat_sessions" s set ended_at = a.last_activity_at
from "aria_engine"."chat_session_activity" a
where a.session_id = s.id and s.ended_at is null and s.status in ('COMPLETED', 'FAILED', 'TERMINATED', 'ENDED');

-- The time of the last message of the current branch. It was the latest time of all messages.
update "aria_engine"."chat_session_activity" a set last_message_at = m.created_at
from "aria_engine"."chat_messages" m
where m.session_id = a.session_id and m.position = a.leaf_position and a.last_message_at is distinct from m.created_at;
