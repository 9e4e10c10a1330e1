import type { Config } from '../../config.ts';
import { DomainError, StartError } from '../../errors.ts';
import { SECRET_MARK } from '../../modules/api-key/api-key.rules.ts';
import { LOCAL_VIEWER, type Viewer } from '../../modules/viewer/viewer.rules.ts';
import type { TokenVerifier } from './authenticate-token.ts';
import type { KeyRegistry, LiveKey } from './key-registry.ts';

/** Who was let in, and until when. */
export interface Access {
  readonly viewer: Viewer;
  /**
   * Calls the listener once with a FORBIDDEN, when the key is revoked or what let the caller in has expired; at once where that is so already.
   * @returns the function that takes the listener away
   */
  onEnd(listener: (reason: DomainError) => void): () => void;
}

/** The access of everyone where authentication is off and stays so. */
export const OPEN_ACCESS: Access = { viewer: LOCAL_VIEWER, onEnd: () => () => undefined };

/** The access of whoever was not let in: it sees nothing and may do nothing. */
export const DENIED_ACCESS: Access = { viewer: { id: 'nobody', name: 'nobody', scopes: [], agentIds: [] }, onEnd: () => () => undefined };

/** Lets callers in, the same way over every transport. */
export interface Authenticator {
  /** True while everyone is let in. */
  isOpen(): boolean;
  /**
   * @param authorization as in the HTTP header: `Bearer <key or token>`; null where there is none
   * @throws DomainError UNAUTHORIZED, SERVICE_UNAVAILABLE where it cannot be found out
   */
  authenticate(authorization: string | null): Promise<Access>;
}

/** What decides who is let in. */
export interface AuthenticatorOptions {
  readonly auth: Pick<Config['auth'], 'mode'>;
  readonly keys: KeyRegistry;
  /** Null where no identity provider is configured. */
  readonly tokens: TokenVerifier | null;
}

const BEARER = /^Bearer +(\S+) *$/i;

function unauthorized(message: string): DomainError {
  return new DomainError('UNAUTHORIZED', message);
}

async function keyOf(keys: KeyRegistry, secret: string): Promise<LiveKey> {
  const key = await keys.find(secret);
  if (key === null) throw unauthorized('The API key is unknown, revoked or has expired.');
  return key;
}

/**
 * With AUTH=auto on a loopback address everyone is let in until the first key is made, which ends what was opened without one; a key that
 * was revoked counts, for whoever loses theirs must not get in without one.
 * @throws StartError where AUTH=off, but there are keys that let someone in
 */
export function createAuthenticator({ auth, keys, tokens }: AuthenticatorOptions): Authenticator {
  if (auth.mode === 'off' && keys.liveAtStart > 0) {
    throw new StartError(
      `AUTH=off, but the database holds ${keys.liveAtStart} API key(s) that let someone in. Leave AUTH unset, or revoke them: npm run key -- list`,
    );
  }
  const closed = new DomainError('FORBIDDEN', 'Authentication is on now: come again with an API key.');
  const openAccess: Access =
    auth.mode === 'off' ? OPEN_ACCESS : { viewer: LOCAL_VIEWER, onEnd: listener => keys.onFirstKey(() => listener(closed)) };
  const isOpen = () => auth.mode === 'off' || (auth.mode === 'auto' && !keys.hasKeys);
  return {
    isOpen,
    async authenticate(authorization) {
      if (isOpen()) return openAccess;
      if (authorization === null || authorization.trim() === '') {
        throw unauthorized('This server asks for an API key: send it as "Authorization: Bearer sg_…".');
      }
      const credential = BEARER.exec(authorization)?.[1];
      if (credential === undefined) throw unauthorized('The authorization must read "Bearer sg_…".');
      if (credential.startsWith(SECRET_MARK)) return keyOf(keys, credential);
      if (tokens === null) throw unauthorized('The API key is unknown, revoked or has expired.');
      return tokens.verify(credential);
    },
  };
}
