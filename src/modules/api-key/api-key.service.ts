import { v7 as uuidv7 } from 'uuid';
import { DomainError } from '../../errors.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { parseApiKeyId } from '../../global-id.ts';
import type { Caller } from '../caller.ts';
import { assertScope, maySeeAgent } from '../viewer/viewer.rules.ts';
import { type CreateApiKeyInput, readApiKey } from './api-key.input.ts';
import { type ApiKeyRow, toApiKeyRow } from './api-key.loader.ts';
import { createSecret, hashSecret, KEYS_CHANGED_CHANNEL, mayManageKey, prefixOf } from './api-key.rules.ts';

/** What these services need of a caller. */
export type KeyManager = Pick<Caller, 'viewer' | 'database' | 'models'>;

/** Makes every server read its keys again now. If the notification fails, they do so within half a second: the key is stored already. */
async function notifyServers({ database }: KeyManager): Promise<void> {
  await database.rows(Prisma.sql`select pg_notify(${KEYS_CHANGED_CHANNEL}, '')::text`).catch(() => undefined);
}

/**
 * Creates an API key. If a caller who is bound to agents names none, the key is bound to the same agents.
 * @returns the key and its secret, which is not stored
 * @throws DomainError FORBIDDEN without ADMIN and for agents that the caller may not see, BAD_USER_INPUT
 */
export async function createApiKey(
  manager: KeyManager,
  input: CreateApiKeyInput,
): Promise<{ readonly apiKey: ApiKeyRow; readonly secret: string }> {
  const { viewer, models } = manager;
  assertScope(viewer, 'ADMIN', 'to create API keys');
  const { name, scopes, expiresAt, rateLimits, ...checked } = readApiKey(input);
  const agentIds = checked.agentIds ?? viewer.agentIds;
  const foreign = agentIds?.find(agentId => !maySeeAgent(viewer, agentId));
  if (foreign !== undefined) {
    throw new DomainError('FORBIDDEN', `This key may not create keys for the agent ${foreign}.`, { agentId: foreign });
  }
  const secret = createSecret();
  const record = await models.apiKey.create({
    data: {
      id: uuidv7(),
      name,
      prefix: prefixOf(secret),
      hash: Uint8Array.from(hashSecret(secret)),
      scopes: [...scopes],
      // Left out, the column is null: all agents.
      agentIds: agentIds === null ? undefined : [...agentIds],
      expiresAt,
      rateLimitRequests: rateLimits.requests,
      rateLimitWrites: rateLimits.writes,
      rateLimitCreations: rateLimits.creations,
      rateLimitManagement: rateLimits.management,
    },
  });
  await notifyServers(manager);
  return { apiKey: toApiKeyRow(record), secret };
}

/**
 * Revokes an API key for good; a revoked one stays as it is. Within a second every server refuses the key and ends its streams.
 * @param id global id or UUID
 * @throws DomainError FORBIDDEN without ADMIN, API_KEY_NOT_FOUND, also for a key that the caller may not see
 */
export async function revokeApiKey(manager: KeyManager, { id }: { readonly id: string }): Promise<ApiKeyRow> {
  const { viewer, models } = manager;
  assertScope(viewer, 'ADMIN', 'to revoke API keys');
  const uuid = parseApiKeyId(id);
  const found = uuid === null ? null : await models.apiKey.findUnique({ where: { id: uuid } });
  if (found === null || !mayManageKey(viewer, toApiKeyRow(found).agentIds)) throw apiKeyNotFound(id);
  await models.apiKey.updateMany({ where: { id: found.id, revokedAt: null }, data: { revokedAt: new Date() } });
  const revoked = await models.apiKey.findUnique({ where: { id: found.id } });
  if (revoked === null) throw apiKeyNotFound(id);
  await notifyServers(manager);
  return toApiKeyRow(revoked);
}

/**
 * API_KEY_NOT_FOUND, also for a key that the caller may not see.
 * @param id as the caller gave it
 */
function apiKeyNotFound(id: string): DomainError {
  return new DomainError('API_KEY_NOT_FOUND', `There is no API key ${id}.`, { id });
}
