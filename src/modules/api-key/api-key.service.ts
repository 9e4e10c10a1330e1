import { v7 as uuidv7 } from 'uuid';
import { DomainError } from '../../errors.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseApiKeyId } from '../../global-id.ts';
import type { Caller } from '../caller.ts';
import { assertScope, maySeeAgent } from '../viewer/viewer.rules.ts';
import { type CreateApiKeyInput, readApiKey } from './api-key.input.ts';
import { API_KEY_COLUMNS, type ApiKeyRow, visibleKeys } from './api-key.loader.ts';
import { createSecret, hashSecret, KEYS_CHANGED_CHANNEL, prefixOf } from './api-key.rules.ts';

/** What it takes to deal with keys. */
export type KeyKeeper = Pick<Caller, 'viewer' | 'database'>;

/** Sent with the commit: every server then reads its keys anew. */
const TELL_SERVERS = Prisma.sql`pg_notify(${KEYS_CHANGED_CHANNEL}, '')`;

/**
 * Creates a key. Where a caller who is bound to agents names none, the key is bound to the same.
 * @returns the key and its secret, which is kept nowhere
 * @throws DomainError FORBIDDEN without ADMIN and for agents the caller may not see, BAD_USER_INPUT
 */
export async function createApiKey(
  { viewer, database }: KeyKeeper,
  input: CreateApiKeyInput,
): Promise<{ readonly apiKey: ApiKeyRow; readonly secret: string }> {
  assertScope(viewer, 'ADMIN', 'to create API keys');
  const checked = readApiKey(input);
  const agentIds = checked.agentIds ?? viewer.agentIds;
  const foreign = agentIds?.find(agentId => !maySeeAgent(viewer, agentId));
  if (foreign !== undefined) {
    throw new DomainError('FORBIDDEN', `This key may not create keys for the agent ${foreign}.`, { agentId: foreign });
  }
  const { rateLimits: limits } = checked;
  const secret = createSecret();
  const agents = agentIds === null ? Prisma.sql`null` : Prisma.sql`${[...agentIds]}`;
  const [apiKey] = await database.rows<ApiKeyRow>(Prisma.sql`
    with k as (
      insert into aria_engine.api_keys (id, name, prefix, hash, scopes, agent_ids, expires_at,
        rate_limit_requests, rate_limit_writes, rate_limit_creations, rate_limit_management)
      values (${uuidv7()}::uuid, ${checked.name}, ${prefixOf(secret)}, ${hashSecret(secret)}, ${[...checked.scopes]}::aria_engine.api_scope[],
        ${agents}::text[], ${checked.expiresAt?.toISOString() ?? null}::timestamptz,
        ${limits.requests}::int, ${limits.writes}::int, ${limits.creations}::int, ${limits.management}::int)
      returning *
    ) select ${API_KEY_COLUMNS}, ${TELL_SERVERS}::text as told from k`);
  if (apiKey === undefined) throw new Error('The insert of an API key gave no row.');
  return { apiKey, secret };
}

/**
 * Revokes a key for good; one that is revoked already stays as it is. What it holds open is ended, on every server, within a second.
 * @param id global id or UUID
 * @throws DomainError FORBIDDEN without ADMIN, API_KEY_NOT_FOUND, also for a key that may not be seen
 */
export async function revokeApiKey({ viewer, database }: KeyKeeper, { id }: { readonly id: string }): Promise<ApiKeyRow> {
  assertScope(viewer, 'ADMIN', 'to revoke API keys');
  const uuid = parseApiKeyId(id);
  if (uuid === null) throw apiKeyNotFound(id);
  const [apiKey] = await database.rows<ApiKeyRow>(Prisma.sql`
    with k as (
      update aria_engine.api_keys k set revoked_at = coalesce(k.revoked_at, clock_timestamp())
      where k.id = ${uuid}::uuid and ${visibleKeys(viewer)} returning *
    ) select ${API_KEY_COLUMNS}, ${TELL_SERVERS}::text as told from k`);
  if (apiKey === undefined) throw apiKeyNotFound(id);
  return apiKey;
}

/**
 * API_KEY_NOT_FOUND, also for a key that may not be seen.
 * @param id as the caller wrote it
 */
function apiKeyNotFound(id: string): DomainError {
  return new DomainError('API_KEY_NOT_FOUND', `There is no API key ${id}.`, { id });
}
