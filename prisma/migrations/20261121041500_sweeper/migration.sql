ALTER TABLE "aria_engine"."chat_sessions" ADD COLUMN "working_since" TIMESTAMPTZ(3);

CREATE INDEX "chat_sessions_trash_idx" ON "aria_engine"."chat_sessions"("deleted_at", "id") WHERE "deleted_at" IS NOT NULL;
