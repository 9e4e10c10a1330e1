import { DomainError } from '../../errors.ts';
import type { RateLimits } from '../rate-limit/rate-limit.rules.ts';

/** What a caller may do; each includes the ones before it. */
export const API_SCOPES = ['READ', 'WRITE', 'MANAGE', 'ADMIN'] as const;

/** READ; WRITE: create, update, end, append; MANAGE: kill, reset, delete, restore and the like; ADMIN: keys, and what cannot be undone. */
export type ApiScope = (typeof API_SCOPES)[number];

/** Who calls, what the caller may do, and what of the store exists for them. */
export interface Viewer {
  /** Stands for the same caller in every request: `key:<uuid>`, `token:<issuer> <subject>`, or `local`. */
  readonly id: string;
  readonly name: string;
  /** With all that they include, lowest first. */
  readonly scopes: readonly ApiScope[];
  /** Only these agents' sessions exist for the viewer; null is all. */
  readonly agentIds: readonly string[] | null;
  /** In place of the server's limits; 0 is none. */
  readonly rateLimits?: Partial<RateLimits>;
}

/** The viewer where authentication is off: on a loopback address, everyone may do everything. */
export const LOCAL_VIEWER: Viewer = { id: 'local', name: 'local', scopes: API_SCOPES, agentIds: null };

/** True for the name of a scope. */
export function isApiScope(value: unknown): value is ApiScope {
  return API_SCOPES.some(scope => scope === value);
}

/** The scopes and all that they include, lowest first. */
export function withIncludedScopes(scopes: readonly ApiScope[]): readonly ApiScope[] {
  return API_SCOPES.slice(0, Math.max(0, ...scopes.map(scope => API_SCOPES.indexOf(scope) + 1)));
}

/**
 * @param action what the scope is needed for, as the end of a sentence: `to remove a session for good`
 * @throws DomainError FORBIDDEN where the viewer lacks the scope
 */
export function assertScope(viewer: Viewer, scope: ApiScope, action: string): void {
  if (viewer.scopes.includes(scope)) return;
  throw new DomainError('FORBIDDEN', `The scope ${scope} is needed ${action}.`, { requiredScope: scope, scopes: viewer.scopes });
}

/** Whether an agent's sessions exist for the viewer. */
export function maySeeAgent(viewer: Viewer, agentId: string): boolean {
  return viewer.agentIds === null || viewer.agentIds.includes(agentId);
}

/** Which rows exist for the viewer, as a text that is the same for all for whom the same do. */
export function rightsOf({ agentIds }: Viewer): string {
  return JSON.stringify(agentIds === null ? null : [...agentIds].sort());
}
