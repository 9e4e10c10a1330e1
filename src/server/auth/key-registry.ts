import { DomainError } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import { isSecret, KEYS_CHANGED_CHANNEL, matchesHash, prefixOf } from '../../modules/api-key/api-key.rules.ts';
import type { RateLimits } from '../../modules/rate-limit/rate-limit.rules.ts';
import type { ApiScope, Viewer } from '../../modules/viewer/viewer.rules.ts';
import { withIncludedScopes } from '../../modules/viewer/viewer.rules.ts';
import { ReconnectingConnection } from '../../postgres/reconnecting-connection.ts';

/** How often the keys in use are read anew, whether or not a notification came. */
const REFRESH_MS = 400;
/** A key that was last read longer ago is read again before it lets anyone in. */
const STALE_MS = 900;
/** A key that nobody uses for so long is forgotten. */
const IDLE_MS = 60_000;
/** `lastUsedAt` is written no more often. */
const USE_WRITTEN_MS = 60_000;
/** Secrets nobody has heard of, looked up with one statement. */
const MAX_LOOKUPS = 1_000;

/** A key that lets its holder in, for now. */
export interface LiveKey {
  readonly viewer: Viewer;
  /**
   * Calls the listener once, when the key is revoked or expires; at once where it has been.
   * @returns the function that takes the listener away
   */
  onEnd(listener: (reason: DomainError) => void): () => void;
}

/** The keys of the database as one server knows them: no more than a second behind. */
export interface KeyRegistry {
  /** Whether a key has ever been made and not been removed from the database. */
  readonly hasKeys: boolean;
  /**
   * Calls the listener once there is a first key; at once where there is one.
   * @returns the function that takes the listener away
   */
  onFirstKey(listener: () => void): () => void;
  /** How many keys, when the registry was opened, let someone in. */
  readonly liveAtStart: number;
  /**
   * The key of a secret; null where it is unknown, revoked or expired. A key in use costs no statement.
   * @throws the error of pg where the database has to be asked and cannot be
   */
  find(secret: string): Promise<LiveKey | null>;
  close(): Promise<void>;
}

interface KeyRecord {
  readonly id: string;
  readonly name: string;
  readonly prefix: string;
  readonly hash: Buffer;
  readonly scopes: readonly ApiScope[];
  readonly agentIds: readonly string[] | null;
  readonly rateLimits: Partial<RateLimits>;
  /** Null where it never expires. */
  readonly expiresInMs: number | null;
  readonly revoked: boolean;
}

type ReadRow = { readonly hasKeys: boolean } & (KeyRecord | { readonly prefix: null });

const READ = `
select (select exists (select from aria_engine.api_keys)) as "hasKeys", k.id, k.name, k.prefix, k.hash, k.scopes::text[] as scopes,
  k.agent_ids as "agentIds",
  jsonb_strip_nulls(jsonb_build_object('requests', k.rate_limit_requests, 'writes', k.rate_limit_writes,
    'creations', k.rate_limit_creations, 'management', k.rate_limit_management)) as "rateLimits",
  (extract(epoch from k.expires_at - clock_timestamp()) * 1000)::float8 as "expiresInMs",
  k.revoked_at is not null as revoked
from (select) one left join aria_engine.api_keys k on k.prefix = any ($1::text[])`;

const COUNT_LIVE = `
select count(*)::int as live from aria_engine.api_keys where revoked_at is null and (expires_at is null or expires_at > now())`;

// Another server may have written a later use meanwhile, or this one's less than a minute ago.
const WRITE_USES = `
update aria_engine.api_keys k set last_used_at = used.at
from unnest($1::uuid[], $2::timestamptz[]) used(id, at)
where k.id = used.id and (k.last_used_at is null or k.last_used_at < used.at and k.last_used_at < now() - interval '59 seconds')`;

/** One key this server has read. */
class KnownKey implements LiveKey {
  readonly record: KeyRecord;
  readonly viewer: Viewer;
  readAt: number;
  usedAt: number;
  /** Whether a use waits to be written. */
  unwritten = false;
  writtenAt = Number.NEGATIVE_INFINITY;
  #expiresAt: number | null;
  #reason: DomainError | null = null;
  readonly #listeners = new Set<(reason: DomainError) => void>();

  constructor(record: KeyRecord, readAt: number) {
    const { id, name, scopes, agentIds, rateLimits } = record;
    this.record = record;
    this.viewer = { id: `key:${id}`, name, scopes: withIncludedScopes(scopes), agentIds, rateLimits };
    this.readAt = readAt;
    this.usedAt = readAt;
    this.#expiresAt = record.expiresInMs === null ? null : readAt + record.expiresInMs;
    if (record.revoked) this.end('revoked');
  }

  /** Whether it is read on: it is used, or something it let in is still open. */
  isInUse(now: number): boolean {
    return this.#listeners.size > 0 || this.unwritten || now - this.usedAt < IDLE_MS;
  }

  /** Looks at the clock; false once it has been revoked or has expired. */
  isLive(now: number): boolean {
    if (this.#expiresAt !== null && this.#expiresAt <= now) this.end('expired');
    return this.#reason === null;
  }

  /** Takes what the database says of it now; null where it is gone. */
  update(record: KeyRecord | null, now: number): void {
    this.readAt = now;
    if (record === null || record.revoked) this.end('revoked');
    else this.#expiresAt = record.expiresInMs === null ? null : now + record.expiresInMs;
    this.isLive(now);
  }

  end(how: 'revoked' | 'expired'): void {
    if (this.#reason !== null) return;
    this.#reason = new DomainError('FORBIDDEN', how === 'revoked' ? 'The API key was revoked.' : 'The API key has expired.');
    for (const listener of [...this.#listeners]) listener(this.#reason);
    this.#listeners.clear();
  }

  onEnd(listener: (reason: DomainError) => void): () => void {
    if (this.#reason !== null) {
      listener(this.#reason);
      return () => undefined;
    }
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** What a key registry needs. */
export interface KeyRegistryOptions {
  readonly url: string;
  readonly log: Logger;
}

/**
 * Opens the registry of a database's keys, on one connection of its own. The keys in use are read anew all the time, with one
 * statement for all of them, and at once where a server or a command has changed one.
 * @throws the error of pg where the database cannot be reached
 */
export async function createKeyRegistry({ url, log }: KeyRegistryOptions): Promise<KeyRegistry> {
  const known = new Map<string, KnownKey>();
  const wanted = new Set<string>();
  const firstKeyListeners = new Set<() => void>();
  let hasKeys = false;
  let closed = false;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  let queued: Promise<void> | null = null;
  let away = false;

  const link = new ReconnectingConnection({
    url,
    log,
    name: 'sessiongraph api keys',
    setup: `set timezone = 'UTC'; listen ${KEYS_CHANGED_CHANNEL}`,
    onNotification: () => void refresh().catch(() => undefined),
  });

  function setHasKeys(value: boolean): void {
    hasKeys = value;
    if (!value) return;
    for (const listener of [...firstKeyListeners]) listener();
    firstKeyListeners.clear();
  }

  async function read(): Promise<void> {
    const asked = [...wanted].slice(0, MAX_LOOKUPS);
    for (const prefix of asked) wanted.delete(prefix);
    const prefixes = [...new Set([...known.keys(), ...asked])];
    // As of before the statement: what changes while it is under way must not count as seen.
    const readAt = performance.now();
    const [result] = await link.query({ name: 'read_api_keys', text: READ, values: [prefixes] });
    const rows: readonly ReadRow[] = result?.rows ?? [];
    setHasKeys(rows[0]?.hasKeys === true);
    const found = new Map<string, KeyRecord>();
    for (const row of rows) if (row.prefix !== null) found.set(row.prefix, row);
    for (const [prefix, key] of known) key.update(found.get(prefix) ?? null, readAt);
    for (const [prefix, record] of found) if (!known.has(prefix)) known.set(prefix, new KnownKey(record, readAt));
  }

  /** Reads once more, behind what is under way; all who ask meanwhile are served by the same statement. */
  function refresh(): Promise<void> {
    queued ??= running
      .catch(() => undefined)
      .then(() => {
        queued = null;
        running = read();
        return running;
      });
    return queued;
  }

  async function lookUp(prefix: string): Promise<void> {
    wanted.add(prefix);
    // A flood of unknown secrets is looked up in turns.
    do await refresh();
    while (wanted.has(prefix));
  }

  async function writeUses(now: number): Promise<void> {
    const due = [...known.values()].filter(key => key.unwritten && now - key.writtenAt >= USE_WRITTEN_MS);
    if (due.length === 0) return;
    const instants = due.map(key => new Date(Date.now() - (now - key.usedAt)).toISOString());
    for (const key of due) {
      key.unwritten = false;
      key.writtenAt = now;
    }
    await link.query({ name: 'write_uses', text: WRITE_USES, values: [due.map(key => key.record.id), instants] });
  }

  async function tend(): Promise<void> {
    try {
      await refresh();
      const now = performance.now();
      await writeUses(now);
      for (const [prefix, key] of known) if (!key.isInUse(now)) known.delete(prefix);
      if (away) log.info('the API keys are reached again');
      away = false;
    } catch (error) {
      if (!away && !closed) log.warn({ reason: String(error) }, 'the API keys cannot be read');
      away = true;
      // The clock goes on without the database.
      for (const key of known.values()) key.isLive(performance.now());
    } finally {
      if (!closed) timer = setTimeout(() => void tend(), REFRESH_MS).unref();
    }
  }

  let liveAtStart: number;
  try {
    await refresh();
    const [counted] = await link.query(COUNT_LIVE);
    liveAtStart = Number(counted?.rows[0]?.live);
  } catch (error) {
    await link.close();
    throw error;
  }
  timer = setTimeout(() => void tend(), REFRESH_MS).unref();

  return {
    get hasKeys() {
      return hasKeys;
    },
    liveAtStart,
    onFirstKey(listener) {
      if (hasKeys) listener();
      else firstKeyListeners.add(listener);
      return () => firstKeyListeners.delete(listener);
    },
    async find(secret) {
      if (!isSecret(secret)) return null;
      const prefix = prefixOf(secret);
      const before = known.get(prefix);
      if (before === undefined || performance.now() - before.readAt > STALE_MS) await lookUp(prefix);
      const key = known.get(prefix);
      if (key === undefined || !matchesHash(secret, key.record.hash)) return null;
      const now = performance.now();
      if (!key.isLive(now)) return null;
      key.usedAt = now;
      key.unwritten = true;
      return key;
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await link.close();
    },
  };
}
