-- Sessions, their activity, messages, the event log and what imports remember.

CREATE SCHEMA IF NOT EXISTS "aria_engine";

-- Substring search. A trusted extension, so the owner of the database may create it.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE TYPE "aria_engine"."session_status" AS ENUM ('SPAWNING', 'ACTIVE', 'WORKING', 'STALLED', 'COMPLETED', 'FAILED', 'TERMINATED', 'ENDED');
CREATE TYPE "aria_engine"."session_kind" AS ENUM ('MAIN', 'DIRECT', 'GROUP', 'GLOBAL', 'UNKNOWN', 'CRON', 'SUBAGENT', 'HOOK', 'NODE', 'OTHER');
CREATE TYPE "aria_engine"."session_priority" AS ENUM ('LOW', 'NORMAL', 'HIGH', 'CRITICAL');
CREATE TYPE "aria_engine"."message_role" AS ENUM ('USER', 'ASSISTANT', 'SYSTEM', 'TOOL', 'OTHER');
CREATE TYPE "aria_engine"."session_event_type" AS ENUM ('CREATED', 'UPDATED', 'STATUS_CHANGED', 'PROGRESS', 'DELETED', 'RESTORED', 'MESSAGE_ADDED', 'MESSAGE_DELETED', 'COMPACTED', 'LOG_APPENDED');

CREATE TABLE "aria_engine"."chat_sessions" (
    "id" UUID NOT NULL,
    "external_id" TEXT,
    "agent_id" TEXT NOT NULL,
    "key" TEXT,
    "kind" "aria_engine"."session_kind" NOT NULL,
    "type" TEXT NOT NULL DEFAULT 'chat',
    "status" "aria_engine"."session_status" NOT NULL DEFAULT 'ACTIVE',
    "status_reason" TEXT,
    "title" TEXT NOT NULL,
    "given_title" TEXT,
    "derived_title" TEXT,
    "label" TEXT,
    "display_name" TEXT,
    "subject" TEXT,
    "category" TEXT,
    "tags" TEXT[] DEFAULT ARRAY[]::TEXT[],
    "channel" TEXT,
    "node_id" TEXT,
    "output_path" TEXT,
    "priority" "aria_engine"."session_priority" NOT NULL DEFAULT 'NORMAL',
    "task" TEXT,
    "prompt" TEXT,
    "token_limit" INTEGER,
    "model" TEXT,
    "model_provider" TEXT,
    "settings" JSONB NOT NULL DEFAULT '{}',
    "settings_extra" JSONB NOT NULL DEFAULT '{}',
    "origin" JSONB,
    "delivery" JSONB,
    "metadata" JSONB NOT NULL DEFAULT '{}',
    "parent_id" UUID,
    "compaction_count" INTEGER NOT NULL DEFAULT 0,
    "compacted_through" BIGINT NOT NULL DEFAULT 0,
    "version" INTEGER NOT NULL DEFAULT 1,
    "expected_duration_ms" BIGINT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "started_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expected_completion_at" TIMESTAMPTZ(3),
    "ended_at" TIMESTAMPTZ(3),
    "archived_at" TIMESTAMPTZ(3),
    "pinned_at" TIMESTAMPTZ(3),
    "superseded_at" TIMESTAMPTZ(3),
    "deleted_at" TIMESTAMPTZ(3),
    CONSTRAINT "chat_sessions_pkey" PRIMARY KEY ("id")
);

CREATE TABLE "aria_engine"."chat_session_activity" (
    "session_id" UUID NOT NULL,
    "agent_id" TEXT NOT NULL,
    "listed" BOOLEAN NOT NULL DEFAULT true,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "last_activity_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "last_message_at" TIMESTAMPTZ(3),
    "message_count" INTEGER NOT NULL DEFAULT 0,
    "next_position" BIGINT NOT NULL DEFAULT 1,
    "leaf_position" BIGINT,
    "input_tokens" BIGINT NOT NULL DEFAULT 0,
    "output_tokens" BIGINT NOT NULL DEFAULT 0,
    "cache_read_tokens" BIGINT NOT NULL DEFAULT 0,
    "cache_write_tokens" BIGINT NOT NULL DEFAULT 0,
    "total_tokens" BIGINT NOT NULL DEFAULT 0,
    "cost_nano_usd" BIGINT NOT NULL DEFAULT 0,
    "context_used" BIGINT,
    "progress_percent" INTEGER NOT NULL DEFAULT 0,
    "tasks_completed" INTEGER,
    "tasks_total" INTEGER,
    "current_task" TEXT,
    CONSTRAINT "chat_session_activity_pkey" PRIMARY KEY ("session_id")
);

CREATE TABLE "aria_engine"."chat_messages" (
    "session_id" UUID NOT NULL,
    "position" BIGINT NOT NULL,
    "id" UUID NOT NULL,
    "external_id" TEXT,
    "role" "aria_engine"."message_role" NOT NULL,
    "content" TEXT NOT NULL,
    "parts" JSONB,
    "agent_id" TEXT,
    "model" TEXT,
    "provider" TEXT,
    "input_tokens" BIGINT,
    "output_tokens" BIGINT,
    "cache_read_tokens" BIGINT,
    "cache_write_tokens" BIGINT,
    "total_tokens" BIGINT,
    "cost_nano_usd" BIGINT,
    "latency_ms" INTEGER,
    "stop_reason" TEXT,
    "metadata" JSONB NOT NULL DEFAULT '{}',
    "parent_position" BIGINT,
    "on_branch" BOOLEAN NOT NULL DEFAULT true,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "chat_messages_pkey" PRIMARY KEY ("session_id", "position")
);

CREATE SEQUENCE "aria_engine"."session_events_id_seq" AS BIGINT CACHE 1;

CREATE TABLE "aria_engine"."session_events" (
    "id" BIGINT NOT NULL DEFAULT nextval('"aria_engine"."session_events_id_seq"'),
    "occurred_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "seq" BIGINT,
    "session_id" UUID NOT NULL,
    "agent_id" TEXT NOT NULL,
    "type" "aria_engine"."session_event_type" NOT NULL,
    "payload" JSONB NOT NULL DEFAULT '{}',
    CONSTRAINT "session_events_pkey" PRIMARY KEY ("occurred_at", "id")
) PARTITION BY RANGE ("occurred_at");

ALTER SEQUENCE "aria_engine"."session_events_id_seq" OWNED BY "aria_engine"."session_events"."id";

CREATE TABLE "aria_engine"."session_events_default" PARTITION OF "aria_engine"."session_events" DEFAULT;

CREATE TABLE "aria_engine"."event_log_state" (
    "singleton" BOOLEAN NOT NULL DEFAULT true,
    "last_seq" BIGINT NOT NULL DEFAULT 0,
    "expired_seq" BIGINT NOT NULL DEFAULT 0,
    CONSTRAINT "event_log_state_pkey" PRIMARY KEY ("singleton"),
    CONSTRAINT "event_log_state_one_row" CHECK ("singleton")
);
INSERT INTO "aria_engine"."event_log_state" DEFAULT VALUES;

CREATE TABLE "aria_engine"."import_sources" (
    "session_id" UUID NOT NULL,
    "system" TEXT NOT NULL,
    "agent_id" TEXT NOT NULL,
    "external_id" TEXT NOT NULL,
    "field_hashes" JSONB NOT NULL DEFAULT '{}',
    "imported_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "import_sources_pkey" PRIMARY KEY ("session_id")
);

CREATE TABLE "aria_engine"."import_lines" (
    "session_id" UUID NOT NULL,
    "line" INTEGER NOT NULL,
    "entry_id" TEXT,
    "parent_entry_id" TEXT,
    "position" BIGINT,
    "raw" TEXT NOT NULL,
    CONSTRAINT "import_lines_pkey" PRIMARY KEY ("session_id", "line")
);

CREATE TABLE "aria_engine"."session_tombstones" (
    "session_id" UUID NOT NULL,
    "agent_id" TEXT NOT NULL,
    "deleted_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "session_tombstones_pkey" PRIMARY KEY ("session_id")
);

-- Orders of a page of sessions, and equality. ENDED_AT sorts null as infinity.
CREATE INDEX "chat_sessions_created_at_idx" ON "aria_engine"."chat_sessions"("created_at", "id");
CREATE INDEX "chat_sessions_started_at_idx" ON "aria_engine"."chat_sessions"("started_at", "id");
CREATE INDEX "chat_sessions_ended_at_idx" ON "aria_engine"."chat_sessions"((coalesce("ended_at", 'infinity'::timestamptz)), "id");
CREATE INDEX "chat_sessions_title_idx" ON "aria_engine"."chat_sessions"("title" COLLATE "und-x-icu", "id");
CREATE INDEX "chat_sessions_agent_id_idx" ON "aria_engine"."chat_sessions"("agent_id");
CREATE INDEX "chat_sessions_status_idx" ON "aria_engine"."chat_sessions"("status");
CREATE INDEX "chat_sessions_kind_idx" ON "aria_engine"."chat_sessions"("kind");
CREATE INDEX "chat_sessions_type_idx" ON "aria_engine"."chat_sessions"("type");
CREATE INDEX "chat_sessions_key_idx" ON "aria_engine"."chat_sessions"("key");
CREATE INDEX "chat_sessions_label_idx" ON "aria_engine"."chat_sessions"("label");
CREATE INDEX "chat_sessions_parent_id_idx" ON "aria_engine"."chat_sessions"("parent_id");
CREATE UNIQUE INDEX "chat_sessions_key_unique" ON "aria_engine"."chat_sessions"("agent_id", "key") WHERE "deleted_at" IS NULL AND "superseded_at" IS NULL;
CREATE UNIQUE INDEX "chat_sessions_label_unique" ON "aria_engine"."chat_sessions"("agent_id", "label") WHERE "deleted_at" IS NULL AND "superseded_at" IS NULL;

CREATE INDEX "chat_session_activity_recent_idx" ON "aria_engine"."chat_session_activity"("last_activity_at", "session_id") WHERE "listed";
CREATE INDEX "chat_session_activity_agent_recent_idx" ON "aria_engine"."chat_session_activity"("agent_id", "last_activity_at", "session_id") WHERE "listed";

CREATE INDEX "chat_messages_id_idx" ON "aria_engine"."chat_messages"("id");
CREATE INDEX "chat_messages_created_at_idx" ON "aria_engine"."chat_messages"("created_at", "id");
CREATE INDEX "chat_messages_branch_idx" ON "aria_engine"."chat_messages"("session_id", "position") WHERE "on_branch";

-- to_tsvector refuses more than 1 MB of lexemes, and 100,000 characters, the API's limit of a message, stay below it.
ALTER TABLE "aria_engine"."chat_messages" ADD COLUMN "words" TSVECTOR GENERATED ALWAYS AS (to_tsvector('english'::regconfig, left("content", 100000))) STORED;
CREATE INDEX "chat_messages_words_idx" ON "aria_engine"."chat_messages" USING GIN ("words");
CREATE INDEX "chat_messages_content_trgm_idx" ON "aria_engine"."chat_messages" USING GIN (translate(lower("content" COLLATE "und-x-icu"), 'ς', 'σ') gin_trgm_ops);

CREATE INDEX "session_events_seq_idx" ON "aria_engine"."session_events"("seq");
CREATE INDEX "session_events_unsequenced_idx" ON "aria_engine"."session_events"("id") WHERE "seq" IS NULL;

ALTER TABLE "aria_engine"."chat_sessions" ADD CONSTRAINT "chat_sessions_parent_id_fkey" FOREIGN KEY ("parent_id") REFERENCES "aria_engine"."chat_sessions"("id") ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE "aria_engine"."chat_session_activity" ADD CONSTRAINT "chat_session_activity_session_id_fkey" FOREIGN KEY ("session_id") REFERENCES "aria_engine"."chat_sessions"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "aria_engine"."chat_messages" ADD CONSTRAINT "chat_messages_session_id_fkey" FOREIGN KEY ("session_id") REFERENCES "aria_engine"."chat_sessions"("id") ON DELETE CASCADE ON UPDATE CASCADE;
