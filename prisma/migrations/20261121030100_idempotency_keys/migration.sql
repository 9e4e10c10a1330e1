CREATE TABLE "aria_engine"."idempotency_keys" (
    "viewer_id" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "call_hash" TEXT NOT NULL,
    "result" JSONB,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "idempotency_keys_pkey" PRIMARY KEY ("viewer_id", "key")
);

CREATE INDEX "idempotency_keys_created_at_idx" ON "aria_engine"."idempotency_keys"("created_at");
