import type { Logger } from '../../log.ts';
import { isSecret, KEYS_CHANGED_CHANNEL, matchesHash, prefixOf } from '../../modules/api-key/api-key.rules.ts';
import { ReconnectingConnection } from '../../postgres/reconnecting-connection.ts';
import type { Access } from './authenticate.ts';
import { type KeyRecord, KnownKey } from './known-key.ts';

/** Interval at which the keys in use are read, besides reads after notifications. */
const REFRESH_MS = 400;

/** A key that was read longer ago than this is read again before it is accepted. */
const STALE_MS = 900;

/** Minimum interval between two writes of a key's `lastUsedAt`. */
const USE_WRITE_INTERVAL_MS = 60_000;

/** Maximum unknown keys looked up by one statement. */
const MAX_LOOKUPS = 1_000;

/** The API keys of the database, as this server knows them: at most a second behind. */
export interface KeyRegistry {
  /** Whether the database has any keys, including revoked and expired ones. */
  readonly hasKeys: boolean;
  /**
   * Calls the listener once when there is a first key; immediately if there is one already.
   * @returns removes the listener
   */
  onFirstKey(listener: () => void): () => void;
  /** How many active keys there were when the registry was opened. */
  readonly activeAtStart: number;
  /**
   * The access of the key with this secret; null if the key is unknown, revoked or expired. Finding a key that is in use sends no statement.
   * @returns not a promise if the key is in use
   * @throws the error of pg if the database is needed but unavailable
   */
  find(secret: string): Access | null | Promise<Access | null>;
  close(): Promise<void>;
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

const COUNT_ACTIVE = `
select count(*)::int as active from aria_engine.api_keys where revoked_at is null and (expires_at is null or expires_at > now())`;

// Skips keys for which another server has written a later use, or a use within the last minute.
const WRITE_USES = `
update aria_engine.api_keys k set last_used_at = used.at
from unnest($1::uuid[], $2::timestamptz[]) used(id, at)
where k.id = used.id and (k.last_used_at is null or k.last_used_at < used.at and k.last_used_at < now() - interval '59 seconds')`;

/** What a key registry needs. */
export interface KeyRegistryOptions {
  readonly url: string;
  readonly log: Logger;
}

/**
 * Opens the registry, with a dedicated connection. It reads all keys in use with one statement, every 400 ms and after each notification
 * that a key has changed.
 * @throws the error of pg if the database is unavailable
 */
export async function createKeyRegistry({ url, log }: KeyRegistryOptions): Promise<KeyRegistry> {
  /** By prefix. */
  const known = new Map<string, KnownKey>();
  /**
   * The keys in use by their secrets, which have matched their hashes: to hash the secret again for each request takes a twentieth of a small
   * one. The secrets stay in this process, which gets them with each request anyway.
   */
  const bySecret = new Map<string, KnownKey>();
  /** Prefixes to look up. */
  const requested = new Set<string>();
  const firstKeyListeners = new Set<() => void>();
  let hasKeys = false;
  let isClosed = false;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  let queued: Promise<void> | null = null;
  let isUnavailable = false;

  const connection = new ReconnectingConnection({
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
    const lookups = [...requested].slice(0, MAX_LOOKUPS);
    for (const prefix of lookups) requested.delete(prefix);
    const prefixes = [...new Set([...known.keys(), ...lookups])];
    // Taken before the statement runs: the statement may miss changes that happen while it runs.
    const readAt = performance.now();
    const [result] = await connection.query({ name: 'read_api_keys', text: READ, values: [prefixes] });
    const rows: readonly ReadRow[] = result?.rows ?? [];
    setHasKeys(rows[0]?.hasKeys === true);
    const found = new Map<string, KeyRecord>();
    for (const row of rows) if (row.prefix !== null) found.set(row.prefix, row);
    for (const [prefix, key] of known) key.update(found.get(prefix) ?? null, readAt);
    for (const [prefix, record] of found) if (!known.has(prefix)) known.set(prefix, new KnownKey(record, readAt));
  }

  /** Reads the keys after the running read has finished. Concurrent calls share one read. */
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
    requested.add(prefix);
    // One statement looks up a limited number of keys, so this key may have to wait for a later one.
    do await refresh();
    while (requested.has(prefix));
  }

  function use(key: KnownKey, now: number): Access | null {
    if (!key.isActive(now)) return null;
    key.usedAt = now;
    key.hasUnwrittenUse = true;
    return key;
  }

  async function findByHash(secret: string): Promise<Access | null> {
    if (!isSecret(secret)) return null;
    const prefix = prefixOf(secret);
    const lastRead = known.get(prefix)?.readAt;
    if (lastRead === undefined || performance.now() - lastRead > STALE_MS) await lookUp(prefix);
    const key = known.get(prefix);
    if (key === undefined || !matchesHash(secret, key.record.hash)) return null;
    bySecret.set(secret, key);
    return use(key, performance.now());
  }

  async function writeUses(now: number): Promise<void> {
    const due = [...known.values()].filter(key => key.hasUnwrittenUse && now - key.useWrittenAt >= USE_WRITE_INTERVAL_MS);
    if (due.length === 0) return;
    const instants = due.map(key => new Date(Date.now() - (now - key.usedAt)).toISOString());
    for (const key of due) {
      key.hasUnwrittenUse = false;
      key.useWrittenAt = now;
    }
    await connection.query({ name: 'write_uses', text: WRITE_USES, values: [due.map(key => key.record.id), instants] });
  }

  async function maintain(): Promise<void> {
    try {
      await refresh();
      const now = performance.now();
      await writeUses(now);
      for (const [prefix, key] of known) if (!key.isInUse(now)) known.delete(prefix);
      for (const [secret, key] of bySecret) if (!key.isInUse(now)) bySecret.delete(secret);
      if (isUnavailable) log.info('the API keys can be read again');
      isUnavailable = false;
    } catch (error) {
      if (!isUnavailable && !isClosed) log.warn({ reason: String(error) }, 'the API keys cannot be read');
      isUnavailable = true;
      // Keys expire even if the database is unavailable.
      for (const key of known.values()) key.isActive(performance.now());
    } finally {
      if (!isClosed) timer = setTimeout(() => void maintain(), REFRESH_MS).unref();
    }
  }

  let activeAtStart: number;
  try {
    await refresh();
    const [counted] = await connection.query(COUNT_ACTIVE);
    activeAtStart = Number(counted?.rows[0]?.active);
  } catch (error) {
    await connection.close();
    throw error;
  }
  timer = setTimeout(() => void maintain(), REFRESH_MS).unref();

  return {
    get hasKeys() {
      return hasKeys;
    },
    activeAtStart,
    onFirstKey(listener) {
      if (hasKeys) listener();
      else firstKeyListeners.add(listener);
      return () => firstKeyListeners.delete(listener);
    },
    find(secret) {
      const key = bySecret.get(secret);
      const now = performance.now();
      return key !== undefined && now - key.readAt <= STALE_MS ? use(key, now) : findByHash(secret);
    },
    async close() {
      isClosed = true;
      clearTimeout(timer);
      await connection.close();
    },
  };
}
