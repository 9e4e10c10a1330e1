import { badInput } from '../../errors.ts';
import { RATE_CLASSES, type RateClass } from '../rate-limit/rate-limit.rules.ts';
import { findableAgentId } from '../session-key/session-key.rules.ts';
import { assertStorable, readName } from '../text/text.input.ts';
import { API_SCOPES, type ApiScope } from '../viewer/viewer.rules.ts';

export interface CreateApiKeyInput {
  readonly name: string;
  readonly scopes: readonly ApiScope[];
  readonly agentIds?: readonly string[] | null;
  readonly expiresAt?: Date | null;
  readonly rateLimits?: RateLimitInput | null;
}

/** Limits of one key. The server's limit applies for a field that is left out or null. */
export type RateLimitInput = { readonly [Name in RateClass]?: number | null };

/** The checked input for a new key. */
export interface CheckedApiKey {
  readonly name: string;
  /** Lowest first, without duplicates. */
  readonly scopes: readonly ApiScope[];
  /** Normalised, without duplicates. Null if the input names none. */
  readonly agentIds: readonly string[] | null;
  readonly expiresAt: Date | null;
  /** Null for a class with the server's limit. */
  readonly rateLimits: Readonly<Record<RateClass, number | null>>;
}

const MAX_NAME_LENGTH = 200;
const MAX_AGENTS = 1_000;

/** @throws DomainError BAD_USER_INPUT */
export function readApiKey(input: CreateApiKeyInput, now: number = Date.now()): CheckedApiKey {
  assertStorable(input, 'input');
  const name = readName(input.name, 'input.name', MAX_NAME_LENGTH);
  if (input.scopes.length === 0) throw badInput('input.scopes', 'must not be empty');
  const expiresAt = input.expiresAt ?? null;
  if (expiresAt !== null && expiresAt.getTime() <= now) throw badInput('input.expiresAt', 'must be in the future');
  return {
    name,
    scopes: API_SCOPES.filter(scope => input.scopes.includes(scope)),
    agentIds: input.agentIds == null ? null : readAgents(input.agentIds),
    expiresAt,
    rateLimits: readRateLimits(input.rateLimits ?? {}),
  };
}

function readRateLimits(given: RateLimitInput): CheckedApiKey['rateLimits'] {
  for (const name of RATE_CLASSES) if ((given[name] ?? 0) < 0) throw badInput(`input.rateLimits.${name}`, 'must not be negative');
  const { requests = null, writes = null, creations = null, management = null } = given;
  return { requests, writes, creations, management };
}

function readAgents(agentIds: readonly string[]): readonly string[] {
  if (agentIds.length === 0) throw badInput('input.agentIds', 'must not be empty; leave it out for all agents');
  if (agentIds.length > MAX_AGENTS) throw badInput('input.agentIds', `must not have more than ${MAX_AGENTS} agents`);
  return [...new Set(agentIds.map((agentId, index) => readAgent(agentId, `input.agentIds.${index}`)))];
}

/** A name without letters and digits would be normalised to the agent `main`, which the caller did not mean. */
function readAgent(agentId: string, field: string): string {
  const found = findableAgentId(readName(agentId, field, MAX_NAME_LENGTH));
  if (found === null) throw badInput(field, 'must contain a letter or digit (a-z, 0-9)');
  return found;
}
