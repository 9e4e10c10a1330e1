import DataLoader from 'dataloader';
import { Prisma } from '../../generated/prisma/client.ts';
import { byKey } from '../../postgres/batching.ts';
import type { Executor, Sql } from '../../postgres/database.ts';
import {
  allOf,
  cursorColumn,
  emptyPage,
  keysetConditions,
  type Ordering,
  orderList,
  type Page,
  type PageWindow,
  rowsToRead,
  toPage,
  type WithCursor,
} from '../../postgres/keyset.ts';
import type { RateLimits } from '../rate-limit/rate-limit.rules.ts';
import type { ApiScope, Viewer } from '../viewer/viewer.rules.ts';

/** A key as read; instants are Postgres' text in UTC. The hash stays in the database. */
export interface ApiKeyRow {
  readonly id: string;
  readonly name: string;
  readonly prefix: string;
  readonly scopes: readonly ApiScope[];
  readonly agentIds: readonly string[] | null;
  readonly createdAt: string;
  readonly expiresAt: string | null;
  readonly lastUsedAt: string | null;
  readonly revokedAt: string | null;
  /** Those in place of the server's; 0 is none. */
  readonly rateLimits: Partial<RateLimits>;
}

/** Keys, newest first. */
export const API_KEY_ORDERING: Ordering = {
  terms: [
    { expression: Prisma.sql`k.created_at`, type: 'timestamptz', descending: true },
    { expression: Prisma.sql`k.id`, type: 'uuid', descending: true },
  ],
  fingerprint: 'apiKeys',
};

/** The columns of an ApiKeyRow, on the table `k` (api_keys). */
export const API_KEY_COLUMNS = Prisma.sql`k.id, k.name, k.prefix, k.scopes::text[] as scopes, k.agent_ids as "agentIds",
  k.created_at::text as "createdAt", k.expires_at::text as "expiresAt", k.last_used_at::text as "lastUsedAt", k.revoked_at::text as "revokedAt",
  jsonb_strip_nulls(jsonb_build_object('requests', k.rate_limit_requests, 'writes', k.rate_limit_writes,
    'creations', k.rate_limit_creations, 'management', k.rate_limit_management)) as "rateLimits"`;

/**
 * The condition under which a key exists for the viewer, on the table `k`: for who may deal with keys, and is not bound to fewer
 * agents than the key.
 */
export function visibleKeys(viewer: Viewer): Sql {
  if (!viewer.scopes.includes('ADMIN')) return Prisma.sql`false`;
  return viewer.agentIds === null ? Prisma.sql`true` : Prisma.sql`k.agent_ids <@ ${[...viewer.agentIds]}::text[]`;
}

/** Reads keys for one request; equal loads within it share a statement. */
export class ApiKeyLoader {
  readonly #database: Executor;
  readonly #visible: Sql;
  readonly #byId: DataLoader<string, ApiKeyRow | null>;

  constructor(database: Executor, viewer: Viewer) {
    this.#database = database;
    this.#visible = visibleKeys(viewer);
    this.#byId = new DataLoader(async ids => {
      const rows = await database.rows<ApiKeyRow>(
        Prisma.sql`select ${API_KEY_COLUMNS} from aria_engine.api_keys k where k.id = any(${[...ids]}::uuid[]) and ${this.#visible}`,
      );
      return byKey(ids, rows, row => row.id);
    });
  }

  /** A key by its UUID; null where there is none or it may not be seen. */
  byId(id: string): Promise<ApiKeyRow | null> {
    return this.#byId.load(id);
  }

  /** One page of keys, revoked and expired ones included. */
  async page(window: PageWindow): Promise<Page<ApiKeyRow>> {
    if (window.limit === 0) return emptyPage(window);
    const rows = await this.#database.rows<ApiKeyRow & WithCursor>(Prisma.sql`
      select ${API_KEY_COLUMNS}, ${cursorColumn(API_KEY_ORDERING)} from aria_engine.api_keys k
      where ${allOf([this.#visible, ...keysetConditions(API_KEY_ORDERING, window)])}
      order by ${orderList(API_KEY_ORDERING, window)} limit ${rowsToRead(window)}`);
    return toPage(rows, window, API_KEY_ORDERING);
  }

  /** How many keys there are that may be seen. */
  async count(): Promise<number> {
    const [row] = await this.#database.rows<{ count: number }>(
      Prisma.sql`select count(*)::int as count from aria_engine.api_keys k where ${this.#visible}`,
    );
    return row?.count ?? 0;
  }
}
