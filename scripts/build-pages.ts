// Writes the pages of the server and their compressed forms into .build/pages. scripts/setup.mjs runs it after the build.
import { GRAPHIQL_FILE, renderGraphiQLPage } from '../src/server/http/pages/graphiql.ts';
import { encodeAsset, writeBuiltAsset } from '../src/server/http/pages/page-asset.ts';

await writeBuiltAsset(GRAPHIQL_FILE, await encodeAsset(await renderGraphiQLPage()));
