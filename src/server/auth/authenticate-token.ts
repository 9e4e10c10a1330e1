import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose';
import type { Config } from '../../config.ts';
import { DomainError } from '../../errors.ts';
import { findableAgentId } from '../../modules/session-key/session-key.rules.ts';
import { type ApiScope, isApiScope, type Viewer, withIncludedScopes } from '../../modules/viewer/viewer.rules.ts';
import type { Access } from './authenticate.ts';

/** An identity provider whose tokens let callers in. */
export type TokenIssuer = NonNullable<Config['auth']['jwt']>;

/** Checks the tokens of an identity provider. */
export interface TokenVerifier {
  /** @throws DomainError UNAUTHORIZED, SERVICE_UNAVAILABLE where the provider's keys cannot be read */
  verify(token: string): Promise<Access>;
}

/** Only what a public key can check: a shared secret has no place in a key set. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];

const CLOCK_TOLERANCE_S = 5;
const JWKS_TIMEOUT_MS = 5_000;

/** The longest a timer can be set. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Names of an agents claim that stand for all of them. */
const ALL_AGENTS = '*';

/** A claim of words: a list of texts, or one text with spaces between them, as OAuth's `scope`. */
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

/** A word of which nothing is left names no agent; normalised, it would stand for `main`. */
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

/** Calls the listener when the time has come, however far off; the timer keeps no process alive. */
function at(instantMs: number, listener: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const wait = () => {
    const left = instantMs - Date.now();
    if (left <= 0) return listener();
    timer = setTimeout(wait, Math.min(left, MAX_TIMER_MS)).unref();
    return undefined;
  };
  wait();
  return () => clearTimeout(timer);
}

function toFailure(error: unknown): unknown {
  const { JOSEError, JWKSTimeout, JWKSInvalid } = errors;
  const unreadable = error instanceof JWKSTimeout || error instanceof JWKSInvalid || !(error instanceof JOSEError) || isFetchFailure(error);
  if (unreadable) return new DomainError('SERVICE_UNAVAILABLE', 'The keys of the identity provider cannot be read just now; try again.');
  const message = error instanceof errors.JWTExpired ? 'The token has expired.' : 'The token is not valid here.';
  return new DomainError('UNAUTHORIZED', message);
}

/** jose tells of an answer that is no key set with its most general error. */
function isFetchFailure(error: Error & { code: string }): boolean {
  return error.code === 'ERR_JOSE_GENERIC' && error.message.includes('JSON Web Key Set');
}

/**
 * Takes tokens signed by the issuer's keys, for the audience, that tell whose they are (`sub`) and when they expire (`exp`).
 * @param keys where the keys come from; by default the issuer's address, read when first needed and kept for some minutes
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
          onEnd: listener => at(endsAt, () => listener(new DomainError('FORBIDDEN', 'The token has expired.'))),
        };
      } catch (error) {
        throw toFailure(error);
      }
    },
  };
}
