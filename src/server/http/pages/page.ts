import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestHandler, Route } from '../routes.ts';
import type { ContentCoding, EncodedAsset } from './page-asset.ts';

/** One file of a page. */
export interface PageAsset {
  /** The path below that of the page, such as `app.js`; empty for the page itself. */
  readonly name: string;
  readonly contentType: string;
  /** If set, the asset is only served to requests whose `accept` header names this media type. */
  readonly accept?: string;
  /** Called at the first request. If it rejects, the next request calls it again. */
  readonly load: () => Promise<EncodedAsset>;
}

/** A page for browsers, with everything it loads from this server. */
export interface WebPage {
  readonly path: string;
  readonly assets: readonly PageAsset[];
  /** The `Content-Security-Policy` of every asset. */
  readonly policy: string;
}

/** Compressed codings, the smallest first. */
const COMPRESSED: readonly ContentCoding[] = ['br', 'gzip'];

/** Matches an entry of `Accept-Encoding` with quality zero, which means that the client rejects this coding. */
const REJECTED = /;\s*q=0(\.0*)?\s*$/;

function chooseCoding(acceptEncoding: string | string[] | undefined): ContentCoding {
  const entries = String(acceptEncoding ?? '').split(',');
  const accepted = new Set(entries.filter(entry => !REJECTED.test(entry)).map(entry => entry.split(';', 1).join().trim().toLowerCase()));
  return COMPRESSED.find(coding => accepted.has(coding)) ?? 'identity';
}

/** Proxies that compress a response themselves make its ETag weak (`W/"…"`). */
function matchesEtag(ifNoneMatch: string | undefined, etag: string): boolean {
  const tags = ifNoneMatch?.split(',').map(tag => tag.trim().replace(/^W\//, '')) ?? [];
  return tags.includes(etag) || tags.includes('*');
}

function createAssetHandler({ contentType, accept, load }: PageAsset, policy: string): RequestHandler {
  let loading: Promise<EncodedAsset> | null = null;
  const loadOnce = () => {
    loading ??= load().catch((error: unknown) => {
      loading = null;
      throw error;
    });
    return loading;
  };
  return async ({ headers }: IncomingMessage, response: ServerResponse) => {
    const { hash, bodies } = await loadOnce();
    const coding = chooseCoding(headers['accept-encoding']);
    const etag = coding === 'identity' ? `"${hash}"` : `"${hash}-${coding}"`;
    response.setHeader('content-type', contentType);
    response.setHeader('content-security-policy', policy);
    response.setHeader('cache-control', 'no-cache');
    response.setHeader('etag', etag);
    response.setHeader('vary', accept === undefined ? 'accept-encoding' : 'accept, accept-encoding');
    if (matchesEtag(headers['if-none-match'], etag)) {
      response.writeHead(304).end();
      return;
    }
    if (coding !== 'identity') response.setHeader('content-encoding', coding);
    // For HEAD, Node sends the headers and drops the body.
    response.writeHead(200, { 'content-length': bodies[coding].length }).end(bodies[coding]);
  };
}

/**
 * The routes of a page, one for each asset, for GET and HEAD. Assets are compressed with Brotli or gzip if the client accepts it. Browsers
 * may keep them, but must revalidate: `If-None-Match` with the current ETag is answered with 304.
 */
export function servePage({ path, assets, policy }: WebPage): Route[] {
  return assets.map(asset => ({
    method: 'GET',
    path: asset.name === '' ? path : `${path}/${asset.name}`,
    accept: asset.accept,
    handler: createAssetHandler(asset, policy),
  }));
}
