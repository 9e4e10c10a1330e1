/** Which rows a task may sweep next. */
export interface RowBatch {
  /** The most rows. */
  readonly size: number;
  /** UUIDs of rows that failed a short time ago and must be left out. */
  readonly skip: readonly string[];
  /** Aborts when the connection to the database is lost. */
  readonly lost: AbortSignal;
}

/** A row that could not be swept. */
export interface FailedRow {
  readonly id: string;
  readonly error: unknown;
}

/** The result of one batch. */
export interface BatchOutcome {
  /** How many rows were swept. */
  readonly taken: number;
  readonly failed: readonly FailedRow[];
  /** Whether there may be more rows to sweep now. */
  readonly more: boolean;
}

/**
 * Sweeps rows in one statement or transaction. If that fails, sweeps them one by one, so that one bad row does not block the others.
 * @param sweep sweeps all these rows or none, and resolves with their number
 * @param lost aborts when the connection is lost: the failure is then not the rows' fault
 * @throws the error of `sweep` if `lost` is aborted, or if every one of several rows fails
 */
export async function sweepTogether(
  ids: readonly string[],
  sweep: (ids: readonly string[]) => Promise<number>,
  lost: AbortSignal,
): Promise<Omit<BatchOutcome, 'more'>> {
  if (ids.length === 0) return { taken: 0, failed: [] };
  try {
    return { taken: await sweep(ids), failed: [] };
  } catch (error) {
    if (lost.aborted) throw error;
    if (ids.length === 1) return { taken: 0, failed: ids.map(id => ({ id, error })) };
    return sweepOneByOne(ids, sweep, lost);
  }
}

/**
 * Sweeps each row on its own.
 * @throws as `sweepTogether`
 */
export async function sweepOneByOne(
  ids: readonly string[],
  sweep: (ids: readonly string[]) => Promise<number>,
  lost: AbortSignal,
): Promise<Omit<BatchOutcome, 'more'>> {
  let taken = 0;
  const failed: FailedRow[] = [];
  for (const id of ids) {
    try {
      taken += await sweep([id]);
    } catch (error) {
      if (lost.aborted) throw error;
      failed.push({ id, error });
    }
  }
  const [first] = failed;
  if (first !== undefined && failed.length === ids.length && ids.length > 1) throw first.error;
  return { taken, failed };
}
