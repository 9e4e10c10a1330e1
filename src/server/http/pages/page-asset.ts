import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { brotliCompress, gzip, constants as zlibConstants } from 'node:zlib';

/** A content coding in which assets are served. */
export type ContentCoding = 'identity' | 'gzip' | 'br';

/** One file of a page, in every content coding. */
export interface EncodedAsset {
  /** SHA-256 of the content, in base64url. */
  readonly hash: string;
  readonly bodies: Readonly<Record<ContentCoding, Buffer>>;
}

/** Higher qualities save 4 % at most and take five times as long. */
const BROTLI_QUALITY = 5;

/** `.build/pages` for the built server. There is no such folder beside the sources, where tests run: they encode at the first request. */
const BUILT_PAGES = new URL('../../../../pages/', import.meta.url);

/** Compresses the content of an asset. 9 MB take about a second. */
export async function encodeAsset(content: Buffer): Promise<EncodedAsset> {
  const params = { [zlibConstants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY, [zlibConstants.BROTLI_PARAM_SIZE_HINT]: content.length };
  const [gzipped, br] = await Promise.all([promisify(gzip)(content), promisify(brotliCompress)(content, { params })]);
  return { hash: createHash('sha256').update(content).digest('base64url'), bodies: { identity: content, gzip: gzipped, br } };
}

/** Writes an asset into the build. @param name of the file, such as `graphiql.html` */
export async function writeBuiltAsset(name: string, { hash, bodies }: EncodedAsset, folder: URL = BUILT_PAGES): Promise<void> {
  await mkdir(folder, { recursive: true });
  await Promise.all([
    writeFile(new URL(name, folder), bodies.identity),
    writeFile(new URL(`${name}.gz`, folder), bodies.gzip),
    writeFile(new URL(`${name}.br`, folder), bodies.br),
    writeFile(new URL(`${name}.sha256`, folder), hash),
  ]);
}

/** Reads an asset from the build; null if the build does not have it. */
export async function readBuiltAsset(name: string, folder: URL = BUILT_PAGES): Promise<EncodedAsset | null> {
  const read = (suffix: string) => readFile(new URL(`${name}${suffix}`, folder));
  try {
    const [identity, gzipped, br, hash] = await Promise.all([read(''), read('.gz'), read('.br'), read('.sha256')]);
    return { hash: hash.toString(), bodies: { identity, gzip: gzipped, br } };
  } catch {
    return null;
  }
}
