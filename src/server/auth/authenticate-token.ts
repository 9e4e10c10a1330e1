import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose';
import type { Config } from '../../config.ts';
import { DomainError } from '../../errors.ts';
import { findableAgentId } from '../../modules/session-key/session-key.rules.ts';
import { type ApiScope, isApiScope, type Viewer, withIncludedScopes } from '../../modules/viewer/viewer.rules.ts';
import type { Access } from './authenticate.ts';

/** The settings of an identity provider. */
export type TokenIssuer = NonNullable<Config['auth']['jwt']>;

/** Verifies the tokens of an identity provider. */
export interface TokenVerifier {
  /** @throws DomainError UNAUTHORIZED, SERVICE_UNAVAILABLE if the provider's keys cannot be read */
  verify(token: string): Promise<Access>;
}

/** Only algorithms with public keys. Algorithms with a shared secret are rejected: a key set is public, so it cannot contain one. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];

const CLOCK_TOLERANCE_S = 5;
const JWKS_TIMEOUT_MS = 5_000;

/** The longest delay of a timer in Node. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** This word in the agents claim stands for all agents. */
const ALL_AGENTS = '*';

/** The words of a claim: an array of strings, or one string separated by spaces, as in OAuth's `scope`. */
function wordsOf(claim: unknown): readonly string[] {
  if (Array.isArray(claim)) return claim.filter(word => typeof word === 'string');
  return typeof claim === 'string' ? claim.split(' ').filter(word => word !== '') : [];
}

function scopesOf(claim: unknown): readonly ApiScope[] {
  return withIncludedScopes(
    wordsOf(claim)
      .map(word => word.toUpperCase())
      .filter(isApiScope),
  );
}

/** Words without any valid character are ignored: normalised, they would become the agent `main`. */
function agentsOf(claim: unknown): readonly string[] | null {
  const words = wordsOf(claim);
  return words.includes(ALL_AGENTS) ? null : [...new Set(words.map(findableAgentId).filter(agentId => agentId !== null))];
}

function toViewer(payload: JWTPayload, { scopesClaim, agentsClaim }: TokenIssuer): Viewer {
  const { iss = '', sub = '' } = payload;
  return {
    id: `token:${iss} ${sub}`,
    name: sub,
    scopes: scopesOf(payload[scopesClaim]),
    agentIds: agentsClaim === null ? null : agentsOf(payload[agentsClaim]),
  };
}

/** Calls the listener at a time. If that is further away than the longest delay, it waits in several steps. Gives a function that cancels it. */
function callAt(instantMs: number, listener: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const wait = () => {
    const delayMs = instantMs - Date.now();
    if (delayMs <= 0) return listener();
    timer = setTimeout(wait, Math.min(delayMs, MAX_TIMER_MS)).unref();
    return undefined;
  };
  wait();
  return () => clearTimeout(timer);
}

function toTokenError(error: unknown): unknown {
  const { JOSEError, JWKSTimeout, JWKSInvalid } = errors;
  const isProviderFailure =
    error instanceof JWKSTimeout || error instanceof JWKSInvalid || !(error instanceof JOSEError) || isKeySetFailure(error);
  if (isProviderFailure) return new DomainError('SERVICE_UNAVAILABLE', 'The keys of the identity provider cannot be read. Try again.');
  const message = error instanceof errors.JWTExpired ? 'The token has expired.' : 'The token is not valid for this server.';
  return new DomainError('UNAUTHORIZED', message);
}

/** jose reports a response that is not a key set with its most general error. */
function isKeySetFailure(error: Error & { code: string }): boolean {
  return error.code === 'ERR_JOSE_GENERIC' && error.message.includes('JSON Web Key Set');
}

/**
 * Accepts tokens that are signed by the issuer's keys, made for the audience, and have a subject (`sub`) and an expiry (`exp`).
 * @param keys the issuer's keys; by default they are fetched from its address when first needed, and cached for some minutes
 */
export function createTokenVerifier(
  issuer: TokenIssuer,
  keys: JWTVerifyGetKey = createRemoteJWKSet(new URL(issuer.jwksUrl), { timeoutDuration: JWKS_TIMEOUT_MS }),
): TokenVerifier {
  return {
    async verify(token) {
      try {
        const { payload } = await jwtVerify(token, keys, {
          issuer: issuer.issuer,
          audience: issuer.audience,
          algorithms: ALGORITHMS,
          clockTolerance: CLOCK_TOLERANCE_S,
          requiredClaims: ['sub', 'exp'],
        });
        const endsAt = ((payload.exp ?? 0) + CLOCK_TOLERANCE_S) * 1_000;
        return {
          viewer: toViewer(payload, issuer),
          onEnd: listener => callAt(endsAt, () => listener(new DomainError('FORBIDDEN', 'The token has expired.'))),
        };
      } catch (error) {
        throw toTokenError(error);
      }
    },
  };
}
