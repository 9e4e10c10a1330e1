import type { ServerResponse } from 'node:http';

const HEADERS = Object.entries({
  // Answers are data: nothing of them is to be run, framed, or taken for another type; pages set a policy of their own.
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  // What one caller may see is not to be kept for others; whoever answers with something public says so.
  'cache-control': 'no-store',
});

/** Tells browsers and proxies to do no more with an answer than the caller asked for; later headers of the same name win. */
export function setSecurityHeaders(response: ServerResponse): void {
  for (const [name, value] of HEADERS) response.setHeader(name, value);
}
