// `npm start`: sets up what is not set up yet and becomes the server, in this same process so that signals reach it.
import { runOrExplain, setUp } from './setup.mjs';

await runOrExplain(setUp);
await import('../.build/src/main.js');
