import type { ServerResponse } from 'node:http';

const HEADERS = Object.entries({
  // Responses are data: browsers must not run or frame them, nor guess another type. Pages set their own policy.
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  // A response for one caller must not be cached for others. Handlers of public content override this.
  'cache-control': 'no-store',
});

/** Sets the default security headers. Handlers may override them. */
export function setSecurityHeaders(response: ServerResponse): void {
  for (const [name, value] of HEADERS) response.setHeader(name, value);
}
