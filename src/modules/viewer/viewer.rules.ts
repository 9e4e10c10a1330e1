import { DomainError } from '../../errors.ts';
import type { RateLimits } from '../rate-limit/rate-limit.rules.ts';

/** The scopes of callers. Each includes the scopes before it. */
export const API_SCOPES = ['READ', 'WRITE', 'MANAGE', 'ADMIN'] as const;

/** What a caller may do. viewer.schema.ts describes each scope. */
export type ApiScope = (typeof API_SCOPES)[number];

/** The authenticated caller, with its rights. */
export interface Viewer {
  /** The same for each request of this caller: `key:<uuid>`, `token:<issuer> <subject>`, or `local`. */
  readonly id: string;
  readonly name: string;
  /** All scopes, included ones too, lowest first. */
  readonly scopes: readonly ApiScope[];
  /** The viewer sees only sessions of these agents. Null for all agents. */
  readonly agentIds: readonly string[] | null;
  /** Limits that replace the server's. 0 means unlimited. */
  readonly rateLimits?: Partial<RateLimits>;
}

/** The viewer of every request while authentication is off. It may do everything. */
export const LOCAL_VIEWER: Viewer = { id: 'local', name: 'local', scopes: API_SCOPES, agentIds: null };

/** True if the value is the name of a scope. */
export function isApiScope(value: unknown): value is ApiScope {
  return API_SCOPES.some(scope => scope === value);
}

/** These scopes and the scopes that they include, lowest first. */
export function withIncludedScopes(scopes: readonly ApiScope[]): readonly ApiScope[] {
  return API_SCOPES.slice(0, Math.max(0, ...scopes.map(scope => API_SCOPES.indexOf(scope) + 1)));
}

/**
 * Checks that the viewer has a scope.
 * @param action what the scope is needed for, as the end of a sentence: `to remove a session for good`
 * @throws DomainError FORBIDDEN if the viewer lacks the scope
 */
export function assertScope(viewer: Viewer, scope: ApiScope, action: string): void {
  if (viewer.scopes.includes(scope)) return;
  throw new DomainError('FORBIDDEN', `The scope ${scope} is needed ${action}.`, { requiredScope: scope, scopes: viewer.scopes });
}

/** Whether the viewer may see an agent's sessions. */
export function maySeeAgent(viewer: Viewer, agentId: string): boolean {
  return viewer.agentIds === null || viewer.agentIds.includes(agentId);
}

/** A text that is equal for viewers who may see the same agents. */
export function rightsOf({ agentIds }: Viewer): string {
  return JSON.stringify(agentIds === null ? null : [...agentIds].sort());
}
