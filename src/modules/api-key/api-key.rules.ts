import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

const SECRET_BYTES = 32;

/** `sg_` and 8 of the 43 characters: enough to find a key by, and too few to guess the rest from. */
const PREFIX_LENGTH = 11;

const SECRET = /^sg_[A-Za-z0-9_-]{43}$/;

/** Begins every secret, so that one that leaked can be recognised. */
export const SECRET_MARK = 'sg_';

/** A new secret: 256 random bits. */
export function createSecret(): string {
  return SECRET_MARK + randomBytes(SECRET_BYTES).toString('base64url');
}

/** True for a text that could be a secret. */
export function isSecret(text: string): boolean {
  return SECRET.test(text);
}

/** What of a secret is stored and shown in the clear. */
export function prefixOf(secret: string): string {
  return secret.slice(0, PREFIX_LENGTH);
}

/** What is stored in place of a secret. */
export function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

/** Whether a secret is the one of a hash; how long that takes says nothing of either. */
export function matchesHash(secret: string, hash: Uint8Array): boolean {
  const given = hashSecret(secret);
  return given.length === hash.length && timingSafeEqual(given, hash);
}

/** The Postgres notification channel of API keys: every write that a server's key registry must see notifies it. */
export const KEYS_CHANGED_CHANNEL = 'sessiongraph_api_keys';
