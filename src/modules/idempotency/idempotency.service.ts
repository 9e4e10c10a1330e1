import { Prisma } from '../../generated/prisma/client.ts';
import { type Executor, joinTransaction, PREPARED } from '../../postgres/database.ts';
import { isLockTimeout } from '../../postgres/sql-state.ts';
import type { Caller } from '../caller.ts';
import { idempotencyConflict, type KeyedCall, type Outcome, stillRunning } from './calls-in-flight.service.ts';
import { type KeyedInput, readIdempotencyKey } from './idempotency.input.ts';
import { callHash, KEPT_HOURS, viewerHash } from './idempotency.rules.ts';

/** A mutation that can be made exactly once. */
export interface KeyedMutation<Input extends KeyedInput, Result, Kept extends object> {
  /** The GraphQL field: a key used for one is not free for another. */
  readonly field: string;
  /** Does it. With a key, everything it sends is part of one transaction, and a failure of any statement fails all of it. */
  run(caller: Caller, input: Input): Promise<Result>;
  /** What is kept of the result, as JSON: ids, so that a retry sees what has become of it. */
  keep(result: Result): Kept;
  /** The result of an earlier call, as it is now. @throws DomainError where it is gone or may no longer be seen */
  replay(caller: Caller, kept: Kept): Result | Promise<Result>;
}

/**
 * Makes a mutation, the same once however often it is called with its idempotency key: a call after the first, or while it is
 * running, gives the first result. The key is kept in the transaction of the change. A failure is not kept.
 * Without a key, the mutation is made as it is.
 * @throws DomainError IDEMPOTENCY_CONFLICT where the key was used with another input, SERVICE_UNAVAILABLE where the first call takes
 * too long, BAD_USER_INPUT for a malformed key; and what the mutation throws
 */
export async function makeOnce<Input extends KeyedInput, Result, Kept extends object>(
  caller: Caller,
  mutation: KeyedMutation<Input, Result, Kept>,
  input: Input,
): Promise<Result> {
  const key = readIdempotencyKey(input);
  if (key === null) return mutation.run(caller, input);
  const body = { ...input, idempotencyKey: undefined };
  const call: KeyedCall = { viewer: viewerHash(caller.viewer.id), key, hash: callHash(mutation.field, body) };
  const { made, kept } = await caller.callsInFlight.join(call, patienceMs => make(caller, mutation, body, call, patienceMs));
  return made === null ? mutation.replay(caller, kept) : made.result;
}

async function make<Input extends KeyedInput, Result, Kept extends object>(
  caller: Caller,
  mutation: KeyedMutation<Input, Result, Kept>,
  input: Input,
  call: KeyedCall,
  patienceMs: number,
): Promise<Outcome<Result, Kept>> {
  let written = false;
  const eventsWritten = () => {
    written = true;
  };
  const outcome = await caller.database.transaction(async transaction => {
    if (!(await claim(transaction, call, patienceMs))) return { kept: await findKept<Kept>(transaction, call), made: null };
    const result = await mutation.run({ ...caller, database: joinTransaction(transaction), eventsWritten }, input);
    const kept = mutation.keep(result);
    await transaction.rows(Prisma.sql`${Prisma.raw(PREPARED)} update aria_engine.idempotency_keys set result = ${JSON.stringify(kept)}::jsonb
      where viewer_id = ${call.viewer} and key = ${call.key}`);
    return { kept, made: { result } };
  });
  if (written) caller.eventsWritten();
  return outcome;
}

/**
 * Takes the key for this transaction; waits where another transaction has taken it and is under way.
 * The row is locked in any case: nobody sweeps a row that was found.
 * @returns false where a call has been made with it
 */
async function claim(transaction: Executor, call: KeyedCall, patienceMs: number): Promise<boolean> {
  try {
    // The limit is set before the row is inserted, and taken back for the statements that follow once it is.
    const claimed = await transaction.rows(Prisma.sql`${Prisma.raw(PREPARED)}
      with patience as materialized (select set_config('lock_timeout', ${`${patienceMs}ms`}, true))
      insert into aria_engine.idempotency_keys as kept (viewer_id, key, call_hash)
      select ${call.viewer}, ${call.key}, ${call.hash} from patience
      on conflict (viewer_id, key) do update set call_hash = excluded.call_hash, result = null, created_at = excluded.created_at
        where kept.created_at <= excluded.created_at - interval '1 hour' * ${KEPT_HOURS}::int
      returning set_config('lock_timeout', '0', true)`);
    return claimed.length > 0;
  } catch (error) {
    throw isLockTimeout(error) ? stillRunning() : error;
  }
}

async function findKept<Kept>(transaction: Executor, call: KeyedCall): Promise<Kept> {
  const [row] = await transaction.rows<{ hash: string; result: Kept }>(Prisma.sql`${Prisma.raw(PREPARED)}
    select call_hash as hash, result from aria_engine.idempotency_keys where viewer_id = ${call.viewer} and key = ${call.key}`);
  if (row === undefined) throw new Error('A key that was found is gone, though its row was locked.');
  if (row.hash !== call.hash) throw idempotencyConflict();
  return row.result;
}
