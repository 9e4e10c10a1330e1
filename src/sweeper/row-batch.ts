/** What one batch of a sweep through a table is to be. */
export interface RowBatch {
  /** Most rows. */
  readonly size: number;
  /** UUIDs of rows that have failed of late, and are left for later. */
  readonly skip: readonly string[];
  /** Aborted where the database is gone. */
  readonly lost: AbortSignal;
}

/** One row that could not be taken, and why. */
export interface FailedRow {
  readonly id: string;
  readonly error: unknown;
}

/** What became of one batch of rows. */
export interface BatchOutcome {
  /** How many rows were taken; some may have been none of ours any more. */
  readonly taken: number;
  readonly failed: readonly FailedRow[];
  /** Whether it is worth looking for another batch at once. */
  readonly more: boolean;
}

/**
 * Takes rows together, in a statement or transaction they share; where that fails, one by one, so that one bad row does not cost its
 * neighbours.
 * @param take does it for these rows, all or none, and tells how many it took
 * @param lost aborted where the database is gone: that is no row's fault
 * @throws the error of `take` once `lost` is aborted, or where no row could be taken although there are several
 */
export async function takeTogether(
  ids: readonly string[],
  take: (ids: readonly string[]) => Promise<number>,
  lost: AbortSignal,
): Promise<Omit<BatchOutcome, 'more'>> {
  if (ids.length === 0) return { taken: 0, failed: [] };
  try {
    return { taken: await take(ids), failed: [] };
  } catch (error) {
    if (lost.aborted) throw error;
    if (ids.length === 1) return { taken: 0, failed: ids.map(id => ({ id, error })) };
    return takeOneByOne(ids, take, lost);
  }
}

/**
 * Takes rows each on its own.
 * @throws as `takeTogether`
 */
export async function takeOneByOne(
  ids: readonly string[],
  take: (ids: readonly string[]) => Promise<number>,
  lost: AbortSignal,
): Promise<Omit<BatchOutcome, 'more'>> {
  let taken = 0;
  const failed: FailedRow[] = [];
  for (const id of ids) {
    try {
      taken += await take([id]);
    } catch (error) {
      if (lost.aborted) throw error;
      failed.push({ id, error });
    }
  }
  const [first] = failed;
  if (first !== undefined && failed.length === ids.length && ids.length > 1) throw first.error;
  return { taken, failed };
}
