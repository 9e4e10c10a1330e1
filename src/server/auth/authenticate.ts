import type { Config } from '../../config.ts';
import { DomainError, StartError } from '../../errors.ts';
import { SECRET_MARK } from '../../modules/api-key/api-key.rules.ts';
import { LOCAL_VIEWER, type Viewer } from '../../modules/viewer/viewer.rules.ts';
import type { TokenVerifier } from './authenticate-token.ts';
import type { KeyRegistry } from './key-registry.ts';

/** The access of one authenticated caller. */
export interface Access {
  readonly viewer: Viewer;
  /**
   * Calls the listener once when the access ends, with a FORBIDDEN that says why: the key is revoked, or the key or token has expired. If
   * the access has ended already, calls it immediately.
   * @returns removes the listener
   */
  onEnd(listener: (reason: DomainError) => void): () => void;
}

/** The access of every caller if AUTH=off. It never ends. */
export const OPEN_ACCESS: Access = { viewer: LOCAL_VIEWER, onEnd: () => () => undefined };

/** The access of a caller that failed to authenticate: it sees nothing and may do nothing. */
export const DENIED_ACCESS: Access = { viewer: { id: 'nobody', name: 'nobody', scopes: [], agentIds: [] }, onEnd: () => () => undefined };

/** Authenticates callers, the same way for every transport. */
export interface Authenticator {
  /** True while authentication is off: every caller may do everything. */
  isOpen(): boolean;
  /**
   * @param authorization the `Authorization` header, `Bearer <key or token>`; null if there is none
   * @returns not a promise if nothing had to wait
   * @throws DomainError UNAUTHORIZED, SERVICE_UNAVAILABLE if the credentials cannot be checked now
   */
  authenticate(authorization: string | null): Access | Promise<Access>;
}

/** What an authenticator needs. */
export interface AuthenticatorOptions {
  readonly auth: Pick<Config['auth'], 'mode'>;
  readonly keys: KeyRegistry;
  /** Null if no identity provider is configured. */
  readonly tokens: TokenVerifier | null;
}

const BEARER = /^Bearer +(\S+) *$/i;

const UNKNOWN_KEY = 'The API key is unknown, revoked or expired.';

function unauthorized(message: string): DomainError {
  return new DomainError('UNAUTHORIZED', message);
}

function assertKnown(key: Access | null): Access {
  if (key === null) throw unauthorized(UNKNOWN_KEY);
  return key;
}

/**
 * With AUTH=auto on a loopback address, authentication is off until the first API key is created. That ends all access given without a key.
 * Revoked keys count as keys: revoking the last one must not turn authentication off.
 * @throws StartError if AUTH=off although there are active keys
 */
export function createAuthenticator({ auth, keys, tokens }: AuthenticatorOptions): Authenticator {
  if (auth.mode === 'off' && keys.activeAtStart > 0) {
    throw new StartError(
      `AUTH=off, but the database has ${keys.activeAtStart} active API key(s). Leave AUTH unset, or list and revoke them: npm run key -- list`,
    );
  }
  const turnedOn = new DomainError('FORBIDDEN', 'Authentication has been turned on. Connect again with an API key.');
  const openAccess: Access =
    auth.mode === 'off' ? OPEN_ACCESS : { viewer: LOCAL_VIEWER, onEnd: listener => keys.onFirstKey(() => listener(turnedOn)) };
  const isOpen = () => auth.mode === 'off' || (auth.mode === 'auto' && !keys.hasKeys);
  return {
    isOpen,
    authenticate(authorization) {
      if (isOpen()) return openAccess;
      if (authorization === null || authorization.trim() === '') {
        throw unauthorized('This server needs an API key. Send it as "Authorization: Bearer sg_…".');
      }
      const credential = BEARER.exec(authorization)?.[1];
      if (credential === undefined) throw unauthorized('The Authorization header must have the form "Bearer sg_…".');
      if (credential.startsWith(SECRET_MARK)) {
        const key = keys.find(credential);
        return key instanceof Promise ? key.then(assertKnown) : assertKnown(key);
      }
      if (tokens === null) throw unauthorized(UNKNOWN_KEY);
      return tokens.verify(credential);
    },
  };
}
