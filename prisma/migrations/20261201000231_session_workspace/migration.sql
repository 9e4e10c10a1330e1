-- AlterTable
ALTER TABLE "aria_engine"."chat_sessions" ADD COLUMN     "workspace" TEXT;
