import { DomainError } from '../../errors.ts';
import type { RateLimits } from '../../modules/rate-limit/rate-limit.rules.ts';
import { type ApiScope, type Viewer, withIncludedScopes } from '../../modules/viewer/viewer.rules.ts';
import type { Access } from './authenticate.ts';

/** A row of `api_keys`. */
export interface KeyRecord {
  readonly id: string;
  readonly name: string;
  readonly prefix: string;
  readonly hash: Buffer;
  readonly scopes: readonly ApiScope[];
  readonly agentIds: readonly string[] | null;
  readonly rateLimits: Partial<RateLimits>;
  /** Relative to the time of reading; null if the key never expires. */
  readonly expiresInMs: number | null;
  readonly revoked: boolean;
}

/** A key is dropped from memory if it is unused for this long. */
const IDLE_MS = 60_000;

/** An API key that this server has read. Times are of `performance.now()`. */
export class KnownKey implements Access {
  readonly record: KeyRecord;
  readonly viewer: Viewer;
  readAt: number;
  usedAt: number;
  /** Whether the last use has not been written to the database. */
  hasUnwrittenUse = false;
  useWrittenAt = Number.NEGATIVE_INFINITY;
  #expiresAt: number | null;
  #endReason: DomainError | null = null;
  readonly #listeners = new Set<(reason: DomainError) => void>();

  constructor(record: KeyRecord, readAt: number) {
    const { id, name, scopes, agentIds, rateLimits } = record;
    this.record = record;
    this.viewer = { id: `key:${id}`, name, scopes: withIncludedScopes(scopes), agentIds, rateLimits };
    this.readAt = readAt;
    this.usedAt = readAt;
    this.#expiresAt = record.expiresInMs === null ? null : readAt + record.expiresInMs;
    if (record.revoked) this.#end('The API key was revoked.');
  }

  /** Whether the registry must keep reading the key: it is used, or a connection or subscription of it is open. */
  isInUse(now: number): boolean {
    return this.#listeners.size > 0 || this.hasUnwrittenUse || now - this.usedAt < IDLE_MS;
  }

  /** False if the key has been revoked or has expired by now. */
  isActive(now: number): boolean {
    if (this.#expiresAt !== null && this.#expiresAt <= now) this.#end('The API key has expired.');
    return this.#endReason === null;
  }

  /** @param record what the database has now; null if the key has been deleted */
  update(record: KeyRecord | null, now: number): void {
    this.readAt = now;
    if (record === null || record.revoked) this.#end('The API key was revoked.');
    else this.#expiresAt = record.expiresInMs === null ? null : now + record.expiresInMs;
    this.isActive(now);
  }

  onEnd(listener: (reason: DomainError) => void): () => void {
    if (this.#endReason !== null) {
      listener(this.#endReason);
      return () => undefined;
    }
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #end(message: string): void {
    if (this.#endReason !== null) return;
    this.#endReason = new DomainError('FORBIDDEN', message);
    for (const listener of [...this.#listeners]) listener(this.#endReason);
    this.#listeners.clear();
  }
}
