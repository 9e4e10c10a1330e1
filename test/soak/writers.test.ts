import { describe, it } from 'vitest';
import {
  appendConcurrently,
  appendWhileDeleting,
  appendWhileEnding,
  branchConcurrently,
  expectConsistent,
  writeAtRandom,
} from '../api/message/writer-mix.ts';
import { useMutationApi } from '../api/session/mutation-api.ts';

const api = useMutationApi();

describe('concurrent writers for minutes', () => {
  it('append to one session, 20 and 100 writers at the same time', async () => {
    for (let seed = 1; seed <= 5; seed += 1) await appendConcurrently(api, { writers: 20, calls: 100, seed });
    await appendConcurrently(api, { writers: 100, calls: 40, seed: 6 });
    await expectConsistent(api);
  });

  it('add no message to a session that has ended', async () => {
    await appendWhileEnding(api, { rounds: 1_000, appends: 12 });
  });

  it('append all messages or none to a session that is being deleted permanently', async () => {
    await appendWhileDeleting(api, { rounds: 1_000, appends: 12 });
  });

  it('leave one message tree with one active path while they branch and delete', async () => {
    await branchConcurrently(api, { rounds: 1_000, seed: 2 });
  });

  it('keep all rules when they send random mutations', async () => {
    for (let seed = 1; seed <= 10; seed += 1) await writeAtRandom(api, { writers: 20, calls: 150, seed });
  });
});
