import { describe, it } from 'vitest';
import { useMutationApi } from '../session/mutation-api.ts';
import {
  appendConcurrently,
  appendWhileDeleting,
  appendWhileEnding,
  branchConcurrently,
  expectConsistent,
  writeAtRandom,
} from './writer-mix.ts';

const api = useMutationApi();

// test/soak/writers.test.ts runs the same for minutes.
describe('concurrent writers', () => {
  it('leave positions 1..N and correct counters when twenty append to one session', async () => {
    await appendConcurrently(api, { writers: 20, calls: 6, seed: 1 });
    await expectConsistent(api);
  });

  it('append nothing to a session once it has ended', async () => {
    await appendWhileEnding(api, { rounds: 25, appends: 8 });
  });

  it('leave no partial session if it is deleted permanently while they append', async () => {
    await appendWhileDeleting(api, { rounds: 25, appends: 8 });
  });

  it('leave one message tree with one active path while they branch and delete', async () => {
    await branchConcurrently(api, { rounds: 30, seed: 1 });
  });

  it('leave a consistent database after random mutations', async () => {
    await writeAtRandom(api, { writers: 20, calls: 40, seed: 20261121 });
  });
});
