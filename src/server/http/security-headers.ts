import type { ServerResponse } from 'node:http';

const HEADERS = {
  // Responses are data: browsers must not run or frame them, nor guess another type. Pages set their own policy.
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  // A response for one caller must not be cached for others. Handlers of public content override this.
  'cache-control': 'no-store',
};

const ENTRIES = Object.entries(HEADERS);

/** The default security headers, for `writeHead`: names and values in turn. */
export const SECURITY_HEADERS: readonly string[] = ENTRIES.flat();

/** Sets the default security headers. Handlers may override them. */
export function setSecurityHeaders(response: ServerResponse): void {
  for (const [name, value] of ENTRIES) response.setHeader(name, value);
}
