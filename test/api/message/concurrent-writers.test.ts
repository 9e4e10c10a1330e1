import { describe, it } from 'vitest';
import { useMutationApi } from '../session/mutation-api.ts';
import { appendAtOnce, appendWhileEnding, appendWhileRemoving, branchAtOnce, expectConsistent, mixWrites } from './writer-mix.ts';

const api = useMutationApi();

// Minutes of the same: test/soak/writers.test.ts.
describe('concurrent writers', () => {
  it('append to one session, twenty at once, and leave positions 1..N and right counters', async () => {
    await appendAtOnce(api, { writers: 20, calls: 6, seed: 1 });
    await expectConsistent(api);
  });

  it('never write into a session that has ended', async () => {
    await appendWhileEnding(api, { rounds: 25, appends: 8 });
  });

  it('write all or nothing into a session that is removed for good', async () => {
    await appendWhileRemoving(api, { rounds: 25, appends: 8 });
  });

  it('keep one tree with one active path while they branch and delete', async () => {
    await branchAtOnce(api, { rounds: 30, seed: 1 });
  });

  it('break neither rule nor each other, whatever they call', async () => {
    await mixWrites(api, { writers: 20, calls: 40, seed: 20261121 });
  });
});
