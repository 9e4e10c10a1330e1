import DataLoader from 'dataloader';
import { type ApiKey, Prisma } from '../../generated/prisma/client.ts';
import { byKey } from '../../postgres/batching.ts';
import type { Models } from '../../postgres/database.ts';
import { emptyPage, type Ordering, type Page, type PageWindow, rowsToRead, toPage, type WithCursor } from '../../postgres/keyset.ts';
import { RATE_CLASSES, type RateClass, type RateLimits } from '../rate-limit/rate-limit.rules.ts';
import type { ApiScope, Viewer } from '../viewer/viewer.rules.ts';
import { mayManageKey } from './api-key.rules.ts';

/** An API key without its hash, which only authentication reads. */
export interface ApiKeyRow {
  readonly id: string;
  readonly name: string;
  readonly prefix: string;
  readonly scopes: readonly ApiScope[];
  /** The key sees only sessions of these agents; null for all agents. */
  readonly agentIds: readonly string[] | null;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly lastUsedAt: Date | null;
  readonly revokedAt: Date | null;
  /** The limits that replace the server's; 0 is no limit. */
  readonly rateLimits: Partial<RateLimits>;
}

/** API keys, newest first. */
export const API_KEY_ORDERING: Ordering = {
  terms: [
    { expression: Prisma.sql`created_at`, type: 'timestamptz', descending: true },
    { expression: Prisma.sql`id`, type: 'uuid', descending: true },
  ],
  fingerprint: 'apiKeys',
};

/** How many keys are read at once while a page is filled. */
const BATCH = 200;

const LIMIT_COLUMNS = {
  requests: 'rateLimitRequests',
  writes: 'rateLimitWrites',
  creations: 'rateLimitCreations',
  management: 'rateLimitManagement',
} as const satisfies Record<RateClass, keyof ApiKey>;

/** Converts a record of Prisma. */
export function toApiKeyRow(record: ApiKey): ApiKeyRow {
  const { id, name, prefix, scopes, agentIds, createdAt, expiresAt, lastUsedAt, revokedAt } = record;
  const limits = RATE_CLASSES.map(each => [each, record[LIMIT_COLUMNS[each]]] as const).filter(([, limit]) => limit !== null);
  return {
    ...{ id, name, prefix, scopes, createdAt, expiresAt, lastUsedAt, revokedAt },
    // Prisma reads a list that is null as an empty one. No key has an empty list: createApiKey refuses it.
    agentIds: agentIds.length === 0 ? null : agentIds,
    rateLimits: Object.fromEntries(limits),
  };
}

/** Reads API keys for one operation. Loads of several ids share a query. Keys that the viewer may not manage are left out. */
export class ApiKeyLoader {
  readonly #models: Models;
  readonly #viewer: Viewer;
  readonly #byId: DataLoader<string, ApiKeyRow | null>;

  constructor(models: Models, viewer: Viewer) {
    this.#models = models;
    this.#viewer = viewer;
    this.#byId = new DataLoader(async ids => {
      const records = await models.apiKey.findMany({ where: { id: { in: [...ids] } } });
      return byKey(ids, this.#visible(records), row => row.id);
    });
  }

  /** A key by its UUID; null if there is none or the viewer may not see it. */
  byId(id: string): Promise<ApiKeyRow | null> {
    return this.#byId.load(id);
  }

  /** One page of keys, revoked and expired ones included. */
  async page(window: PageWindow): Promise<Page<ApiKeyRow>> {
    if (window.limit === 0) return emptyPage(window);
    const direction = window.inverted ? 'asc' : 'desc';
    const rows: (ApiKeyRow & WithCursor)[] = [];
    // Prisma cannot express the condition of visibility ("contained by"), so keys are read until enough visible ones are found.
    for (let bounds = toBounds(window); ; ) {
      const records = await this.#models.apiKey.findMany({
        where: { AND: bounds },
        orderBy: [{ createdAt: direction }, { id: direction }],
        take: BATCH,
      });
      for (const row of this.#visible(records)) rows.push({ ...row, cursor: JSON.stringify([toCursorInstant(row.createdAt), row.id]) });
      const last = records.at(-1);
      if (records.length < BATCH || last === undefined || rows.length >= rowsToRead(window)) break;
      bounds = [...bounds, beyond(last, window.inverted)];
    }
    return toPage(rows.slice(0, rowsToRead(window)), window, API_KEY_ORDERING);
  }

  /** The number of keys that the viewer may see. */
  async count(): Promise<number> {
    if (this.#viewer.agentIds === null) return this.#models.apiKey.count();
    return this.#visible(await this.#models.apiKey.findMany()).length;
  }

  #visible(records: readonly ApiKey[]): ApiKeyRow[] {
    return records.map(toApiKeyRow).filter(row => mayManageKey(this.#viewer, row.agentIds));
  }
}

/** Later than any key. */
const LAST_INSTANT = new Date(Date.UTC(10_000, 0) - 1);

type Place = Pick<ApiKey, 'createdAt' | 'id'>;

/** The condition for keys older than a place, or newer. The first part is a range of the index; the OR decides between equal times. */
function beyond({ createdAt, id }: Place, isNewer: boolean): Prisma.ApiKeyWhereInput {
  return isNewer
    ? { createdAt: { gte: createdAt }, OR: [{ createdAt: { gt: createdAt } }, { id: { gt: id } }] }
    : { createdAt: { lte: createdAt }, OR: [{ createdAt: { lt: createdAt } }, { id: { lt: id } }] };
}

function toBounds({ after, before }: PageWindow): Prisma.ApiKeyWhereInput[] {
  return [...(after === null ? [] : [beyond(toPlace(after), false)]), ...(before === null ? [] : [beyond(toPlace(before), true)])];
}

/** Cursors hold instants as Postgres writes them in UTC: `2026-02-12 20:25:00.123+00`. */
export function toCursorInstant(instant: Date): string {
  return instant.toISOString().replace('T', ' ').replace('Z', '+00');
}

function toPlace([instant = '', id = '']: readonly string[]): Place {
  // Only a forged cursor holds `infinity`, which Postgres accepts and Prisma does not.
  return { createdAt: instant === 'infinity' ? LAST_INSTANT : new Date(instant.replace(' ', 'T').replace('+00', 'Z')), id };
}
