-- Parts of the database that schema.prisma cannot declare. `npm run check-drift` runs this after the SQL of schema.prisma and compares the
-- result with a migrated database, so everything that a migration adds by hand must be here too.

CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- Makes the event log a table that is partitioned by day, with the columns of schema.prisma.
ALTER SEQUENCE "aria_engine"."session_events_id_seq" OWNED BY NONE;
ALTER TABLE "aria_engine"."session_events" RENAME TO "session_events_unpartitioned";
CREATE TABLE "aria_engine"."session_events" (LIKE "aria_engine"."session_events_unpartitioned" INCLUDING DEFAULTS) PARTITION BY RANGE ("occurred_at");
DROP TABLE "aria_engine"."session_events_unpartitioned";
ALTER TABLE "aria_engine"."session_events" ADD CONSTRAINT "session_events_pkey" PRIMARY KEY ("occurred_at", "id");
ALTER SEQUENCE "aria_engine"."session_events_id_seq" OWNED BY "aria_engine"."session_events"."id";
CREATE TABLE "aria_engine"."session_events_default" PARTITION OF "aria_engine"."session_events" DEFAULT;
CREATE INDEX "session_events_seq_idx" ON "aria_engine"."session_events"("seq");
CREATE INDEX "session_events_unsequenced_idx" ON "aria_engine"."session_events"("id") WHERE "seq" IS NULL;
CREATE INDEX "session_events_session_idx" ON "aria_engine"."session_events"("session_id", "seq") WHERE "seq" IS NOT NULL;
CREATE INDEX "session_events_link_idx" ON "aria_engine"."session_events"("seq") WHERE "seq" IS NOT NULL AND "payload" ?| '{parentId,formerParentId}';

-- The table has one row.
ALTER TABLE "aria_engine"."event_log_state" ADD CONSTRAINT "event_log_state_one_row" CHECK ("singleton");

-- Indexes on expressions, with a collation, or on a part of the rows.
CREATE INDEX "chat_sessions_ended_at_idx" ON "aria_engine"."chat_sessions"((coalesce("ended_at", 'infinity'::timestamptz)), "id");
CREATE INDEX "chat_sessions_status_ended_at_idx" ON "aria_engine"."chat_sessions"("status", (coalesce("ended_at", 'infinity'::timestamptz)), "id");
CREATE INDEX "chat_sessions_priority_idx" ON "aria_engine"."chat_sessions"((CASE "priority" WHEN 'LOW' THEN 0 WHEN 'NORMAL' THEN 1 WHEN 'HIGH' THEN 2 ELSE 3 END), "id");
CREATE INDEX "chat_sessions_title_idx" ON "aria_engine"."chat_sessions"("title" COLLATE "und-x-icu", "id");
CREATE UNIQUE INDEX "chat_sessions_key_unique" ON "aria_engine"."chat_sessions"("agent_id", "key") WHERE "deleted_at" IS NULL AND "superseded_at" IS NULL;
CREATE UNIQUE INDEX "chat_sessions_label_unique" ON "aria_engine"."chat_sessions"("agent_id", "label") WHERE "deleted_at" IS NULL AND "superseded_at" IS NULL;
CREATE INDEX "chat_sessions_trash_idx" ON "aria_engine"."chat_sessions"("deleted_at", "id") WHERE "deleted_at" IS NOT NULL;
CREATE INDEX "chat_session_activity_recent_idx" ON "aria_engine"."chat_session_activity"("last_activity_at", "session_id") WHERE "listed";
CREATE INDEX "chat_session_activity_agent_recent_idx" ON "aria_engine"."chat_session_activity"("agent_id", "last_activity_at", "session_id") WHERE "listed";
CREATE INDEX "chat_messages_branch_idx" ON "aria_engine"."chat_messages"("session_id", "position") WHERE "on_branch";

-- Search.
ALTER TABLE "aria_engine"."chat_messages" ADD COLUMN "words" TSVECTOR GENERATED ALWAYS AS (to_tsvector('english'::regconfig, left("content", 100000))) STORED;
CREATE INDEX "chat_messages_words_idx" ON "aria_engine"."chat_messages" USING GIN ("words");
CREATE INDEX "chat_messages_content_trgm_idx" ON "aria_engine"."chat_messages" USING GIN (translate(lower("content" COLLATE "und-x-icu"), 'ς', 'σ') gin_trgm_ops);
CREATE INDEX "chat_sessions_texts_trgm_idx" ON "aria_engine"."chat_sessions" USING GIN ((translate(lower((coalesce("title", '') || chr(10) || coalesce("label", '') || chr(10) || coalesce("display_name", '') || chr(10) || coalesce("subject", '') || chr(10) || coalesce("key", '') || chr(10) || coalesce("agent_id", '') || chr(10) || coalesce("task", '')) COLLATE "und-x-icu"), 'ς', 'σ')) gin_trgm_ops);
