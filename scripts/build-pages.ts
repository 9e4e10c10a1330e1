// `node scripts/run.mjs build-pages`: writes the pages the server serves, with their compressed forms, into .build/pages. Part of the set-up.
import { GRAPHIQL_FILE, renderGraphiQLPage } from '../src/server/http/pages/graphiql.ts';
import { encodeAsset, writeBuiltAsset } from '../src/server/http/pages/page-asset.ts';

await writeBuiltAsset(GRAPHIQL_FILE, await encodeAsset(await renderGraphiQLPage()));
