import { describe, it } from 'vitest';
import {
  appendAtOnce,
  appendWhileEnding,
  appendWhileRemoving,
  branchAtOnce,
  expectConsistent,
  mixWrites,
} from '../api/message/writer-mix.ts';
import { useMutationApi } from '../api/session/mutation-api.ts';

const api = useMutationApi();

describe('concurrent writers, for minutes', () => {
  it('append to one session, twenty and a hundred at once', async () => {
    for (let seed = 1; seed <= 5; seed += 1) await appendAtOnce(api, { writers: 20, calls: 100, seed });
    await appendAtOnce(api, { writers: 100, calls: 40, seed: 6 });
    await expectConsistent(api);
  });

  it('never write into a session that has ended', async () => {
    await appendWhileEnding(api, { rounds: 1_000, appends: 12 });
  });

  it('write all or nothing into a session that is removed for good', async () => {
    await appendWhileRemoving(api, { rounds: 1_000, appends: 12 });
  });

  it('keep one tree with one active path while they branch and delete', async () => {
    await branchAtOnce(api, { rounds: 1_000, seed: 2 });
  });

  it('break neither rule nor each other, whatever they call', async () => {
    for (let seed = 1; seed <= 10; seed += 1) await mixWrites(api, { writers: 20, calls: 150, seed });
  });
});
