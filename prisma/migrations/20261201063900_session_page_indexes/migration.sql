-- Pages ordered by priority, and pages of one status ordered by their end. The second also replaces the index of the status.
CREATE INDEX "chat_sessions_priority_idx" ON "aria_engine"."chat_sessions"((CASE "priority" WHEN 'LOW' THEN 0 WHEN 'NORMAL' THEN 1 WHEN 'HIGH' THEN 2 ELSE 3 END), "id");
CREATE INDEX "chat_sessions_status_ended_at_idx" ON "aria_engine"."chat_sessions"("status", (coalesce("ended_at", 'infinity'::timestamptz)), "id");
DROP INDEX "aria_engine"."chat_sessions_status_idx";

-- The search in the texts of sessions.
CREATE INDEX "chat_sessions_texts_trgm_idx" ON "aria_engine"."chat_sessions" USING GIN ((translate(lower((coalesce("title", '') || chr(10) || coalesce("label", '') || chr(10) || coalesce("display_name", '') || chr(10) || coalesce("subject", '') || chr(10) || coalesce("key", '') || chr(10) || coalesce("agent_id", '') || chr(10) || coalesce("task", '')) COLLATE "und-x-icu"), 'ς', 'σ')) gin_trgm_ops);
