import { DatabaseError } from 'pg';

const MAX_ATTEMPTS = 5;

/** unique and foreign key violation, serialization failure, deadlock: somebody wrote beside us, and the next look sees it. */
const PASSING_FAULTS = new Set(['23505', '23503', '40001', '40P01']);

/** The state read without a lock is no longer that under the lock. */
export class ChangedMeanwhileError extends Error {
  override readonly name = 'ChangedMeanwhileError';
}

/**
 * Does work that looks first and locks later, anew where somebody else wrote in between, a few times.
 * @throws what the work throws, at last
 */
export async function retryPassing<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const passing = error instanceof ChangedMeanwhileError || (error instanceof DatabaseError && PASSING_FAULTS.has(error.code ?? ''));
      if (!passing || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}
