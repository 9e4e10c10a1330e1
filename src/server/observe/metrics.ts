import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { EventLogGauges } from '../../events/event-log.ts';
import type { PoolGauges } from '../../postgres/database.ts';
import type { SweepObserver } from '../../sweeper/sweeper.ts';
import type { OperationObserver } from './operation-watch.ts';
import { createSweepMetrics } from './sweep-metrics.ts';

/** Counts refusals by limit. */
export interface LimitCounter {
  /** @param limit its name, one of a small fixed set */
  limitHit(limit: string): void;
}

/** What the server counts and measures, as Prometheus reads it. Refusals of operations by a limit are counted by themselves. */
export interface Metrics extends LimitCounter, OperationObserver {
  /** What the sweeper does. */
  readonly sweeps: SweepObserver;
  /** In Prometheus' text format. */
  render(): Promise<{ readonly contentType: string; readonly text: string }>;
}

/** Where the present values are read, at each scrape. */
export interface MetricsSources {
  readonly pool: () => PoolGauges;
  readonly events: () => EventLogGauges;
}

/** Names beyond these are counted together: whoever sends operations chooses their names. */
const MAX_NAMES = 100;
const MAX_NAME = 64;

/** Keeps the number of label values bounded. */
function createNames(): (name: string) => string {
  const known = new Set<string>();
  return name => {
    if (known.has(name)) return name;
    if (known.size >= MAX_NAMES || name.length > MAX_NAME) return 'other';
    known.add(name);
    return name;
  };
}

/** Begins to count; each call counts for itself. */
export function createMetrics({ pool, events }: MetricsSources): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const operations = new Counter({
    name: 'sessiongraph_operations_total',
    help: 'GraphQL operations answered, by type, name and error code ("OK" where there was none).',
    labelNames: ['type', 'operation', 'code'],
    registers,
  });
  const durations = new Histogram({
    name: 'sessiongraph_operation_duration_seconds',
    help: 'Time from the arrival of an operation to its answer; of a subscription, to the beginning of its stream.',
    labelNames: ['type'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  });
  const limits = new Counter({
    name: 'sessiongraph_limits_hit_total',
    help: 'Refusals by a limit.',
    labelNames: ['limit'],
    registers,
  });
  function gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name: `sessiongraph_${name}`,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  }
  gauge('database_pool_connections', 'Connections of the pool.', () => pool().total);
  gauge('database_pool_idle', 'Connections of the pool that nobody uses.', () => pool().idle);
  gauge('database_pool_waiting', 'Statements and transactions waiting for a connection.', () => pool().waiting);
  gauge('subscriptions', 'Open streams of events.', () => events().subscriptions);
  gauge('subscriptions_behind', 'Streams served from the table because their consumer is slow.', () => events().behind);
  gauge('events_buffered', 'Events held for consumers.', () => events().buffered);
  gauge('event_lag', 'Events in the log that this process has not dispatched yet.', () => events().lag);

  const nameOf = createNames();
  const limitNameOf = createNames();
  let watchesProcess = false;
  return {
    answered({ type, name, codes, limits: hit, durationMs }) {
      const labels = { type: type ?? 'unknown', operation: name === null ? '' : nameOf(name) };
      durations.observe({ type: labels.type }, durationMs / 1_000);
      for (const code of codes.length === 0 ? ['OK'] : codes) operations.inc({ ...labels, code });
      for (const limit of hit) limits.inc({ limit });
    },
    sweeps: createSweepMetrics(registry),
    limitHit: limit => limits.inc({ limit: limitNameOf(limit) }),
    async render() {
      // Its timers and observers are for those who look.
      if (!watchesProcess) collectDefaultMetrics({ register: registry });
      watchesProcess = true;
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}
