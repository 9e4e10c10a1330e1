import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Viewer } from '../viewer/viewer.rules.ts';

const SECRET_BYTES = 32;

/** `sg_` and 8 of the 43 random characters: enough to identify a key, and too few to guess the rest. */
const PREFIX_LENGTH = 11;

const SECRET = /^sg_[A-Za-z0-9_-]{43}$/;

/** Every secret starts with this, so people and scanners recognise a leaked one. */
export const SECRET_MARK = 'sg_';

/** A new secret: 256 random bits. */
export function createSecret(): string {
  return SECRET_MARK + randomBytes(SECRET_BYTES).toString('base64url');
}

/** True if the text has the form of a secret. */
export function isSecret(text: string): boolean {
  return SECRET.test(text);
}

/** The part of a secret that is stored and shown unhashed. */
export function prefixOf(secret: string): string {
  return secret.slice(0, PREFIX_LENGTH);
}

/** The hash that is stored instead of the secret. */
export function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

/** Whether a secret has this hash. Takes constant time. */
export function matchesHash(secret: string, hash: Uint8Array): boolean {
  const given = hashSecret(secret);
  return given.length === hash.length && timingSafeEqual(given, hash);
}

/** The Postgres notification channel of API keys. Every write to the keys notifies it, and the key registries of all servers listen. */
export const KEYS_CHANGED_CHANNEL = 'sessiongraph_api_keys';

/**
 * Whether a viewer may see and change a key: it needs ADMIN, and may not be bound to fewer agents than the key.
 * @param agentIds the agents that the key is bound to; null for all
 */
export function mayManageKey(viewer: Viewer, agentIds: readonly string[] | null): boolean {
  if (!viewer.scopes.includes('ADMIN')) return false;
  const { agentIds: visible } = viewer;
  return visible === null || agentIds?.every(agentId => visible.includes(agentId)) === true;
}
