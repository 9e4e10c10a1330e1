import { describe, expect, it } from 'vitest';
import { CallsInFlight, type Outcome } from '../../../../src/modules/idempotency/calls-in-flight.service.ts';

const call = (hash = 'a', key = 'key', viewer = 'viewer') => ({ viewer, key, hash });

/** Work that ends when it is told to. */
function pending() {
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
  it('gives duplicates what is kept of the first', async () => {
    const calls = new CallsInFlight();
    const work = pending();
    const joined = [1, 2, 3].map(() => calls.join(call(), work.make));
    work.succeed('kept');
    expect(await Promise.all(joined)).toEqual([
      { kept: 'kept', made: { result: 'made' } },
      { kept: 'kept', made: null },
      { kept: 'kept', made: null },
    ]);
    expect(work.started()).toBe(1);
  });

  it('refuses another call with the key, once the first has succeeded', async () => {
    const calls = new CallsInFlight();
    const work = pending();
    const first = calls.join(call('a'), work.make);
    const other = calls.join(call('b'), work.make);
    work.succeed('kept');
    await first;
    await expect(other).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT', details: { field: 'input.idempotencyKey' } });
  });

  it('lets those that waited try one after the other where it failed', async () => {
    const calls = new CallsInFlight();
    const work = pending();
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

  it('makes a call anew when the one before has ended: what is kept is for others to know', async () => {
    const calls = new CallsInFlight();
    const make = async () => ({ kept: 'kept', made: { result: 'made' } });
    await calls.join(call(), make);
    expect((await calls.join(call('b'), make)).made).not.toBeNull();
  });

  it('lets other keys and other viewers pass', async () => {
    const calls = new CallsInFlight();
    const work = pending();
    const first = calls.join(call(), work.make);
    const make = async () => ({ kept: 'own', made: null });
    expect(await calls.join(call('a', 'other'), make)).toEqual({ kept: 'own', made: null });
    expect(await calls.join(call('a', 'key', 'other'), make)).toEqual({ kept: 'own', made: null });
    work.succeed('kept');
    await first;
  });

  it('gives up waiting, retryably, and leaves the first alone', async () => {
    const calls = new CallsInFlight(20);
    const work = pending();
    const first = calls.join(call(), work.make);
    await expect(calls.join(call(), work.make)).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    work.succeed('kept');
    expect(await first).toEqual({ kept: 'kept', made: { result: 'made' } });
  });
});
