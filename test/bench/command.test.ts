import { describe, expect, it } from 'vitest';
import { readBenchArguments } from '../../scripts/bench/bench-arguments.ts';
import { measureMemory } from '../../scripts/bench/memory-workload.ts';
import { processCpuMs } from '../../scripts/bench/process-cpu.ts';

describe('the arguments of npm run bench', () => {
  it('are the defaults without words', () => {
    expect(readBenchArguments([])).toMatchObject({
      json: null,
      withPostgraphile: false,
      sessions: 20_000,
      clients: { readers: 8, writers: 32 },
    });
  });

  it('choose workloads, rounds and clients', () => {
    const words = [
      '--work',
      'W1,W3',
      '--rounds',
      '7',
      '--seconds',
      '3',
      '--connections',
      '1',
      '--with',
      'postgraphile',
      '--json',
      'x.json',
    ];
    expect(readBenchArguments(words)).toMatchObject({
      work: ['W1', 'W3'],
      plan: { rounds: 7, roundMs: 3_000 },
      clients: { readers: 1, writers: 32 },
      withPostgraphile: true,
      json: 'x.json',
    });
  });

  it.each([
    [['--work', 'W1,W77'], '--work must name some of'],
    [['--with', 'hasura'], '--with must be postgraphile'],
    [['--seconds', '0'], '--seconds must be a number from 0.1 to 3600'],
    [['--rounds', '0'], '--rounds'],
    [['--unknown'], 'unknown'],
  ])('%j are rejected with a message that names the option', (words, message) => {
    expect(() => readBenchArguments(words)).toThrow(message);
  });
});

describe('processCpuMs', () => {
  it('is a number for a running process on Linux, and null for one that does not exist', () => {
    expect(processCpuMs(process.pid)).toEqual(process.platform === 'linux' ? expect.any(Number) : null);
    expect(processCpuMs(2 ** 30)).toBeNull();
  });
});

describe('measureMemory', () => {
  it('throws the error of a request that fails', async () => {
    const server = {
      port: 1,
      cpuMs: async () => 0,
      memory: async () => ({ heap: 1, resident: 1 }),
      residentBytes: async () => 1,
      close: async () => undefined,
    };
    const request = { graphql: { query: '{ __typename }', variables: {} }, raw: { path: '/', body: {} } };
    const workload = { name: 'T0', title: 'test', goal: { ratio: 1 }, clients: [[request]] };
    await expect(measureMemory(server, [workload], ['x'], 0.1)).rejects.toThrow('ECONNREFUSED');
  });
});
