import { Prisma } from '../../generated/prisma/client.ts';
import { type Executor, joinTransaction, PREPARED } from '../../postgres/database.ts';
import { isLockTimeout } from '../../postgres/sql-state.ts';
import type { Caller } from '../caller.ts';
import { idempotencyConflict, type KeyedCall, type Outcome, stillRunning } from './calls-in-flight.service.ts';
import { type KeyedInput, readIdempotencyKey } from './idempotency.input.ts';
import { callHash, KEPT_HOURS, viewerHash } from './idempotency.rules.ts';

/** A mutation that accepts an idempotency key. */
export interface KeyedMutation<Input extends KeyedInput, Result, Stored extends object> {
  /** The GraphQL field. A key that was used for one field cannot be used for another. */
  readonly field: string;
  /** Executes the mutation. With a key, all its statements are part of one transaction, which fails if any statement fails. */
  run(caller: Caller, input: Input): Promise<Result>;
  /** What to store of the result, as JSON: the ids, so that a repeated call returns the current state. */
  toStored(result: Result): Stored;
  /** The result of an earlier call, in its current state. @throws DomainError if it was removed or the caller may no longer see it */
  replay(caller: Caller, stored: Stored): Result | Promise<Result>;
}

/**
 * Executes a mutation at most once for each idempotency key. A repeated call, also one that arrives while the first is running, returns the first
 * result. The key is stored in the transaction of the change. A failed call is not stored. Without a key, the mutation is always executed.
 * @throws DomainError IDEMPOTENCY_CONFLICT if the key was used with another field or input, SERVICE_UNAVAILABLE if the first call takes too long,
 * BAD_USER_INPUT if the key is malformed; and what the mutation throws
 */
export async function executeOnce<Input extends KeyedInput, Result, Stored extends object>(
  caller: Caller,
  mutation: KeyedMutation<Input, Result, Stored>,
  input: Input,
): Promise<Result> {
  const key = readIdempotencyKey(input);
  if (key === null) return mutation.run(caller, input);
  const body = { ...input, idempotencyKey: undefined };
  const call: KeyedCall = { viewer: viewerHash(caller.viewer.id), key, hash: callHash(mutation.field, body) };
  const { executed, stored } = await caller.callsInFlight.join(call, waitMs => execute(caller, mutation, body, call, waitMs));
  return executed === null ? mutation.replay(caller, stored) : executed.result;
}

async function execute<Input extends KeyedInput, Result, Stored extends object>(
  caller: Caller,
  mutation: KeyedMutation<Input, Result, Stored>,
  input: Input,
  call: KeyedCall,
  waitMs: number,
): Promise<Outcome<Result, Stored>> {
  let hasEvents = false;
  const eventsWritten = () => {
    hasEvents = true;
  };
  const outcome = await caller.database.transaction(async transaction => {
    if (!(await claimKey(transaction, call, waitMs))) return { stored: await readStored<Stored>(transaction, call), executed: null };
    const result = await mutation.run({ ...caller, database: joinTransaction(transaction), appendQueue: null, eventsWritten }, input);
    const stored = mutation.toStored(result);
    await transaction.rows(Prisma.sql`${Prisma.raw(PREPARED)} update aria_engine.idempotency_keys set result = ${JSON.stringify(stored)}::jsonb
      where viewer_id = ${call.viewer} and key = ${call.key}`);
    return { stored, executed: { result } };
  });
  if (hasEvents) caller.eventsWritten();
  return outcome;
}

/**
 * Inserts the key. If another transaction has inserted it, waits for that transaction to end. Locks the row in both cases, so the sweeper does
 * not delete it.
 * @returns false if an earlier call used the key
 * @throws DomainError SERVICE_UNAVAILABLE after `waitMs`
 */
async function claimKey(transaction: Executor, call: KeyedCall, waitMs: number): Promise<boolean> {
  try {
    // The statement sets lock_timeout before the insert and resets it afterwards, so it does not apply to later statements.
    const claimed = await transaction.rows(Prisma.sql`${Prisma.raw(PREPARED)}
      with wait_limit as materialized (select set_config('lock_timeout', ${`${waitMs}ms`}, true))
      insert into aria_engine.idempotency_keys as stored (viewer_id, key, call_hash)
      select ${call.viewer}, ${call.key}, ${call.hash} from wait_limit
      on conflict (viewer_id, key) do update set call_hash = excluded.call_hash, result = null, created_at = excluded.created_at
        where stored.created_at <= excluded.created_at - interval '1 hour' * ${KEPT_HOURS}::int
      returning set_config('lock_timeout', '0', true)`);
    return claimed.length > 0;
  } catch (error) {
    throw isLockTimeout(error) ? stillRunning() : error;
  }
}

async function readStored<Stored>(transaction: Executor, call: KeyedCall): Promise<Stored> {
  const [row] = await transaction.rows<{ hash: string; result: Stored }>(Prisma.sql`${Prisma.raw(PREPARED)}
    select call_hash as hash, result from aria_engine.idempotency_keys where viewer_id = ${call.viewer} and key = ${call.key}`);
  if (row === undefined) throw new Error('An idempotency key was deleted while its row was locked.');
  if (row.hash !== call.hash) throw idempotencyConflict();
  return row.result;
}
