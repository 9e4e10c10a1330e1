import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { SweepObserver } from '../../sweeper/sweeper.ts';

/** Counts the work of this process's sweeper, by task. */
export function createSweepMetrics(registry: Registry): SweepObserver {
  const registers = [registry];
  const active = new Gauge({
    name: 'sessiongraph_sweeper_active',
    help: '1 if this process runs the sweeper, otherwise 0.',
    registers,
  });
  const rows = new Counter({
    name: 'sessiongraph_swept_total',
    help: 'Swept sessions, keys and days of the event log.',
    labelNames: ['task'],
    registers,
  });
  const failures = new Counter({
    name: 'sessiongraph_sweep_failures_total',
    help: 'Rows that could not be swept, and failed sweeps.',
    labelNames: ['task'],
    registers,
  });
  const durations = new Histogram({
    name: 'sessiongraph_sweep_duration_seconds',
    help: 'Duration of one batch.',
    labelNames: ['task'],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120],
    registers,
  });
  return {
    sweeping: isActive => active.set(isActive ? 1 : 0),
    swept({ task, taken, failed, durationMs }) {
      rows.inc({ task }, taken);
      failures.inc({ task }, failed);
      durations.observe({ task }, durationMs / 1_000);
    },
  };
}
