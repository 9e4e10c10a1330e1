import type { IncomingMessage } from 'node:http';

const LOOPBACK_HOST = /^(localhost|[^.]+\.localhost|127(\.\d{1,3}){3}|\[::1\])$/;

function parseUrl(text: string): URL | null {
  return URL.canParse(text) ? new URL(text) : null;
}

/** How the server can be reached, and by which pages. */
export interface OriginCheckOptions {
  /** Whether the server listens on a loopback address. Pages served from this machine are allowed then. */
  readonly isLoopback: boolean;
  /** Whether every caller needs credentials. The `Host` header is not checked then. */
  readonly isAuthenticated: () => boolean;
  /** Further allowed origins, such as `https://app.example.com`. */
  readonly origins: readonly string[];
}

/** Rejects requests that a browser sends for a page that may not use this server. */
export interface OriginCheck {
  /** Whether pages of this origin may use the server. @param host name and port by which the page addresses the server */
  allowsOrigin(origin: string, host: string | undefined): boolean;
  /**
   * Why a request must be rejected, or null. Pages of other sites can send requests and open WebSockets (checked by `Origin`), load
   * addresses as images (checked by `Sec-Fetch-Site`), and point a domain of their own at this machine (checked by `Host`).
   */
  findProblem(request: IncomingMessage): string | null;
}

/** Makes the check for one server. */
export function createOriginCheck({ isLoopback, isAuthenticated, origins }: OriginCheckOptions): OriginCheck {
  const allowedOrigins = new Set(origins);
  const allowedHosts = new Set(origins.map(origin => parseUrl(origin)?.hostname));

  function allowsOrigin(origin: string, host: string | undefined): boolean {
    if (allowedOrigins.has(origin)) return true;
    const url = parseUrl(origin);
    if (url === null) return false;
    return (isLoopback && LOOPBACK_HOST.test(url.hostname)) || (isAuthenticated() && url.host === host);
  }

  /** Why requests with this `Host` header must be rejected, or null. */
  function findHostProblem(host: string): string | null {
    // A malformed host is rejected as it is: another program may read it differently.
    const hostname = parseUrl(`http://${host}`)?.hostname ?? host;
    if (LOOPBACK_HOST.test(hostname) || allowedHosts.has(hostname)) return null;
    return `This server does not serve requests for the host ${hostname}. Use localhost, or turn authentication on.`;
  }

  /** The host that was accepted last: to parse it costs 3 % of a small request. */
  let acceptedHost: string | null = null;

  return {
    allowsOrigin,
    findProblem({ headers }) {
      const { host, origin } = headers;
      if (origin !== undefined && !allowsOrigin(origin, host)) {
        return `Pages of ${origin} may not use this server. CORS_ORIGINS lists the allowed origins.`;
      }
      if (origin === undefined && headers['sec-fetch-site'] === 'cross-site' && headers['sec-fetch-mode'] !== 'navigate') {
        return 'Pages of other sites may not use this server.';
      }
      if (isAuthenticated() || host === undefined || host === acceptedHost) return null;
      const problem = findHostProblem(host);
      if (problem === null) acceptedHost = host;
      return problem;
    },
  };
}
