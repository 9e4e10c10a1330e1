import { describe, expect, it } from 'vitest';
import { CallsInFlight, type Outcome } from '../../../../src/modules/idempotency/calls-in-flight.service.ts';

const call = (hash = 'a', key = 'key', viewer = 'viewer') => ({ viewer, key, hash });

/** Work that the test completes with `succeed` or `fail`. */
function createWork() {
  let started = 0;
  let succeed: (stored: string) => void = () => undefined;
  let fail: (error: Error) => void = () => undefined;
  const execute = () => {
    started += 1;
    return new Promise<Outcome<string, string>>((resolve, reject) => {
      succeed = stored => resolve({ stored, executed: { result: 'executed' } });
      fail = reject;
    });
  };
  return { execute, started: () => started, succeed: (stored: string) => succeed(stored), fail: (error: Error) => fail(error) };
}

describe('CallsInFlight', () => {
  it('gives duplicates the stored result of the first call', async () => {
    const calls = new CallsInFlight();
    const work = createWork();
    const joined = [1, 2, 3].map(() => calls.join(call(), work.execute));
    work.succeed('stored');
    expect(await Promise.all(joined)).toEqual([
      { stored: 'stored', executed: { result: 'executed' } },
      { stored: 'stored', executed: null },
      { stored: 'stored', executed: null },
    ]);
    expect(work.started()).toBe(1);
  });

  it('refuses a different call with the same key after the first has succeeded', async () => {
    const calls = new CallsInFlight();
    const work = createWork();
    const first = calls.join(call('a'), work.execute);
    const other = calls.join(call('b'), work.execute);
    work.succeed('stored');
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
    const first = calls.join(call('a'), work.execute);
    const others = [1, 2, 3].map(() => calls.join(call('b'), failing));
    work.fail(new Error('failed'));
    await expect(first).rejects.toThrow('failed');
    for (const other of others) await expect(other).rejects.toThrow('again');
  });

  it('runs a call again after the earlier one has ended', async () => {
    const calls = new CallsInFlight();
    const execute = async () => ({ stored: 'stored', executed: { result: 'executed' } });
    await calls.join(call(), execute);
    expect((await calls.join(call('b'), execute)).executed).not.toBeNull();
  });

  it('does not execute calls with another key or of another viewer wait', async () => {
    const calls = new CallsInFlight();
    const work = createWork();
    const first = calls.join(call(), work.execute);
    const execute = async () => ({ stored: 'own', executed: null });
    expect(await calls.join(call('a', 'other'), execute)).toEqual({ stored: 'own', executed: null });
    expect(await calls.join(call('a', 'key', 'other'), execute)).toEqual({ stored: 'own', executed: null });
    work.succeed('stored');
    await first;
  });

  it('fails with SERVICE_UNAVAILABLE when it has waited too long, and the first call still succeeds', async () => {
    const calls = new CallsInFlight(20);
    const work = createWork();
    const first = calls.join(call(), work.execute);
    await expect(calls.join(call(), work.execute)).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    work.succeed('stored');
    expect(await first).toEqual({ stored: 'stored', executed: { result: 'executed' } });
  });
});
