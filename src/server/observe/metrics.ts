import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { EventLogGauges } from '../../events/event-log.ts';
import type { PoolGauges } from '../../postgres/database.ts';
import type { SweepObserver } from '../../sweeper/sweeper.ts';
import type { OperationObserver } from './operation-watch.ts';
import { createSweepMetrics } from './sweep-metrics.ts';

/** Counts rejections that happen outside operations. */
export interface LimitCounter {
  limitHit(limit: 'sockets' | 'socket_message_size'): void;
}

/** The metrics of this process. As an observer of operations, it also counts their rejections by limits. */
export interface Metrics extends LimitCounter, OperationObserver {
  /** Counts the sweeper's work. */
  readonly sweeps: SweepObserver;
  /** The metrics in Prometheus' text format. */
  render(): Promise<{ readonly contentType: string; readonly text: string }>;
}

/** Gives the current values of gauges, once per scrape. */
export interface MetricsSources {
  readonly pool: () => PoolGauges;
  readonly events: () => EventLogGauges;
}

/** Operation names beyond these limits are counted as `other`, because clients choose the names. */
const MAX_NAMES = 100;
const MAX_NAME_LENGTH = 64;

/** Gives a function that maps operation names to a bounded number of label values. */
function createOperationLabels(): (name: string) => string {
  const known = new Set<string>();
  return name => {
    if (known.has(name)) return name;
    if (known.size >= MAX_NAMES || name.length > MAX_NAME_LENGTH) return 'other';
    known.add(name);
    return name;
  };
}

/** The code of an operation without errors. */
const SUCCESS = ['OK'];

/** Neither GraphQL names nor codes contain it. */
const SEPARATOR = ' ';

/** Gives a function that makes each value once. Its keys must be a bounded set. */
function remembered<Value>(make: (key: string) => Value): (key: string) => Value {
  const known = new Map<string, Value>();
  return key => {
    const found = known.get(key) ?? make(key);
    known.set(key, found);
    return found;
  };
}

/** Makes the metrics, in a registry of their own. */
export function createMetrics({ pool, events }: MetricsSources): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const operations = new Counter({
    name: 'sessiongraph_operations_total',
    help: 'GraphQL operations answered, by type, name and error code ("OK" if there was none).',
    labelNames: ['type', 'operation', 'code'],
    registers,
  });
  const durations = new Histogram({
    name: 'sessiongraph_operation_duration_seconds',
    help: 'Time from the arrival of an operation to its result, or to the start of its stream for a subscription.',
    labelNames: ['type'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  });
  const limits = new Counter({
    name: 'sessiongraph_limits_hit_total',
    help: 'Rejections by limit.',
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
  gauge('database_pool_connections', 'Connections in the pool.', () => pool().total);
  gauge('database_pool_idle', 'Idle connections in the pool.', () => pool().idle);
  gauge('database_pool_waiting', 'Statements and transactions waiting for a connection.', () => pool().waiting);
  gauge('subscriptions', 'Open event subscriptions.', () => events().subscriptions);
  gauge(
    'subscriptions_behind',
    'Event subscriptions that read from the event table because their consumer is slow.',
    () => events().behind,
  );
  gauge('events_buffered', 'Events buffered for consumers.', () => events().buffered);
  gauge('event_lag', 'Events in the log that this process has not dispatched yet.', () => events().lag);

  const operationLabelOf = createOperationLabels();
  /** prom-client hashes the labels at each call; a child found once need not. */
  const durationOf = remembered((type: string) => durations.labels({ type }));
  const countOf = remembered((key: string) => {
    const [type = '', operation = '', code = ''] = key.split(SEPARATOR);
    return operations.labels({ type, operation, code });
  });
  let collectsProcessMetrics = false;
  return {
    answered({ type, name, codes, limits: exceeded, durationMs }) {
      const label = type ?? 'unknown';
      const operation = name === null ? '' : operationLabelOf(name);
      durationOf(label).observe(durationMs / 1_000);
      for (const code of codes.length === 0 ? SUCCESS : codes) countOf(`${label}${SEPARATOR}${operation}${SEPARATOR}${code}`).inc();
      for (const limit of exceeded) limits.inc({ limit });
    },
    sweeps: createSweepMetrics(registry),
    limitHit: limit => limits.inc({ limit }),
    async render() {
      // Process metrics need timers and observers, so they start with the first scrape.
      if (!collectsProcessMetrics) collectDefaultMetrics({ register: registry });
      collectsProcessMetrics = true;
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}
