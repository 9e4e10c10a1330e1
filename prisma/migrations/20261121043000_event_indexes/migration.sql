-- The events of one session, in the order of the log. Rows come into it with their number, from the sequencer: a write of a session
-- pays nothing for it.
CREATE INDEX "session_events_session_idx" ON "aria_engine"."session_events"("session_id", "seq") WHERE "seq" IS NOT NULL;

-- Events that changed whose child a session is: a stream that follows descendants asks what the tree was at its place of the log.
CREATE INDEX "session_events_link_idx" ON "aria_engine"."session_events"("seq") WHERE "seq" IS NOT NULL AND "payload" ?| '{parentId,formerParentId}';
