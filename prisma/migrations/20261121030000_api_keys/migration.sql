CREATE TYPE "aria_engine"."api_scope" AS ENUM ('READ', 'WRITE', 'MANAGE', 'ADMIN');

CREATE TABLE "aria_engine"."api_keys" (
    "id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "prefix" TEXT NOT NULL,
    "hash" BYTEA NOT NULL,
    "scopes" "aria_engine"."api_scope"[],
    "agent_ids" TEXT[],
    "rate_limit_requests" INTEGER,
    "rate_limit_writes" INTEGER,
    "rate_limit_creations" INTEGER,
    "rate_limit_management" INTEGER,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3),
    "last_used_at" TIMESTAMPTZ(3),
    "revoked_at" TIMESTAMPTZ(3),
    CONSTRAINT "api_keys_pkey" PRIMARY KEY ("id")
);

CREATE UNIQUE INDEX "api_keys_prefix_unique" ON "aria_engine"."api_keys"("prefix");
CREATE INDEX "api_keys_created_at_idx" ON "aria_engine"."api_keys"("created_at", "id");
