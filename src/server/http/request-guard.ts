import type { IncomingMessage } from 'node:http';

const LOOPBACK = /^(localhost|[^.]+\.localhost|127(\.\d{1,3}){3}|\[::1\])$/;

function urlOf(text: string): URL | null {
  return URL.canParse(text) ? new URL(text) : null;
}

const LOOPBACK_PEER = /^(::ffff:)?127\.|^::1$/;

/** True for a request that a program on this machine made itself; what came through a proxy says so in its headers. */
export function isLocalPeer({ socket, headers }: IncomingMessage): boolean {
  if (headers.forwarded !== undefined || headers['x-forwarded-for'] !== undefined) return false;
  return LOOPBACK_PEER.test(socket.remoteAddress ?? '');
}

/** From where the server is used. */
export interface RequestGuardOptions {
  /** The server listens on a loopback address: pages of this machine are let in. */
  readonly loopback: boolean;
  /** Everyone must show a key, so it does not matter by what name the server is called. */
  readonly authenticated: () => boolean;
  /** Of pages that are let in, such as `https://app.example.com`. */
  readonly origins: readonly string[];
}

/** Keeps out what a browser sends on behalf of pages that have no business here. */
export interface RequestGuard {
  /** Whether a page of this origin may use the server, which is called by this host (name and port). */
  allowsOrigin(origin: string, host: string | undefined): boolean;
  /**
   * Why a request must not be served, null where it may. A page of a stranger's may send requests here and open WebSockets (`Origin`), send
   * what needs no answer, such as the address of an image (`Sec-Fetch-Site`), or give its own name this machine's address (`Host`).
   */
  findStranger(request: IncomingMessage): string | null;
}

/** Makes one for a server. */
export function createRequestGuard({ loopback, authenticated, origins }: RequestGuardOptions): RequestGuard {
  const listed = new Set(origins);
  const hosts = new Set(origins.map(origin => urlOf(origin)?.hostname));

  function allowsOrigin(origin: string, host: string | undefined): boolean {
    if (listed.has(origin)) return true;
    const url = urlOf(origin);
    if (url === null) return false;
    return loopback && LOOPBACK.test(url.hostname) ? true : authenticated() && url.host === host;
  }

  return {
    allowsOrigin,
    findStranger({ headers }) {
      const { host, origin } = headers;
      if (origin !== undefined && !allowsOrigin(origin, host)) return `Pages of ${origin} may not use this server.`;
      if (origin === undefined && headers['sec-fetch-site'] === 'cross-site' && headers['sec-fetch-mode'] !== 'navigate') {
        return 'Pages from elsewhere may not use this server.';
      }
      if (authenticated()) return null;
      if (host === undefined) return null;
      // A host that is none could be anybody's: what another program makes of it is not known.
      const hostname = urlOf(`http://${host}`)?.hostname ?? host;
      return LOOPBACK.test(hostname) || hosts.has(hostname) ? null : `This server is not known as ${hostname}.`;
    },
  };
}
