import { describe, expect, it } from 'vitest';
import { CallsInFlight, type Outcome } from '../../../../src/modules/idempotency/calls-in-flight.service.ts';

const call = (hash = 'a', key = 'key', viewer = 'viewer') => ({ viewer, key, hash });

/** Work that the test completes with `succeed` or `fail`. */
function createWork() {
  let started = 0;
  let succeed: (kept: string) => void = () => undefined;
  let fail: (error: Error) => void = () => undefined;
  const make = () => {
    started += 1;
    return new Promise<Outcome<string, string>>((resolve, reject) => {
      succeed = kept => resolve({ kept, made: { result: 'made' } });
      fail = reject;
    });
  };
  return { make, started: () => started, succeed: (kept: string) => succeed(kept), fail: (error: Error) => fail(error) };
}

describe('CallsInFlight', () => {
  it('gives duplicates the kept result of the first call', async () => {
    const calls = new CallsInFlight();
    const work = createWork();
    const joined = [1, 2, 3].map(() => calls.join(call(), work.make));
    work.succeed('kept');
    expect(await Promise.all(joined)).toEqual([
      { kept: 'kept', made: { result: 'made' } },
      { kept: 'kept', made: null },
      { kept: 'kept', made: null },
    ]);
    expect(work.started()).toBe(1);
  });

  it('refuses a different call with the same key after the first has succeeded', async () => {
    const calls = new CallsInFlight();
    const work = createWork();
    const first = calls.join(call('a'), work.make);
    const other = calls.join(call('b'), work.make);
    work.succeed('kept');
    await first;
    await expect(other).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT', details: { field: 'input.idempotencyKey' } });
  });

  it('runs the waiting calls one after the other if the first fails', async () => {
    const calls = new CallsInFlight();
    const work = createWork();
    let running = 0;
    const failing = async (): Promise<Outcome<string, string>> => {
      running += 1;
      expect(running).toBe(1);
      await Promise.resolve();
      running -= 1;
      throw new Error('again');
    };
    const first = calls.join(call('a'), work.make);
    const others = [1, 2, 3].map(() => calls.join(call('b'), failing));
    work.fail(new Error('failed'));
    await expect(first).rejects.toThrow('failed');
    for (const other of others) await expect(other).rejects.toThrow('again');
  });

  it('runs a call again after the earlier one has ended', async () => {
    const calls = new CallsInFlight();
    const make = async () => ({ kept: 'kept', made: { result: 'made' } });
    await calls.join(call(), make);
    expect((await calls.join(call('b'), make)).made).not.toBeNull();
  });

  it('does not make calls with another key or of another viewer wait', async () => {
    const calls = new CallsInFlight();
    const work = createWork();
    const first = calls.join(call(), work.make);
    const make = async () => ({ kept: 'own', made: null });
    expect(await calls.join(call('a', 'other'), make)).toEqual({ kept: 'own', made: null });
    expect(await calls.join(call('a', 'key', 'other'), make)).toEqual({ kept: 'own', made: null });
    work.succeed('kept');
    await first;
  });

  it('fails with SERVICE_UNAVAILABLE when it has waited too long, and the first call still succeeds', async () => {
    const calls = new CallsInFlight(20);
    const work = createWork();
    const first = calls.join(call(), work.make);
    await expect(calls.join(call(), work.make)).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    work.succeed('kept');
    expect(await first).toEqual({ kept: 'kept', made: { result: 'made' } });
  });
});
