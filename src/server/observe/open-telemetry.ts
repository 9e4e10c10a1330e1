import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Attributes,
  type Context,
  DiagLogLevel,
  defaultTextMapGetter,
  diag,
  type Span as OtelSpan,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import { ExportResultCode, setGlobalErrorHandler, W3CTraceContextPropagator } from '@opentelemetry/core';
import { defaultResource, detectResources, envDetector, resourceFromAttributes, serviceInstanceIdDetector } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor, ConsoleSpanExporter, type SpanExporter } from '@opentelemetry/sdk-trace-base';
import type { Config } from '../../config.ts';
import type { Logger } from '../../log.ts';
import type { Span, SpanAttributes, Tracer } from '../../postgres/tracing.ts';

/** Tracing by OpenTelemetry, begun. */
export interface OpenTelemetry {
  readonly tracer: Tracer;
  /** Sends what is not sent yet, for a bounded time. */
  close(): Promise<void>;
}

export interface OpenTelemetryOptions {
  readonly settings: NonNullable<Config['tracing']>;
  /** Of this program. */
  readonly version: string;
  readonly log: Logger;
}

/** A collector that does not answer by then goes without the last spans. */
const FLUSH_MS = 2_000;

async function createOtlpExporter(protocol: NonNullable<Config['tracing']>['protocol']): Promise<SpanExporter> {
  const { OTLPTraceExporter } =
    protocol === 'http/json'
      ? await import('@opentelemetry/exporter-trace-otlp-http')
      : await import('@opentelemetry/exporter-trace-otlp-proto');
  return new OTLPTraceExporter();
}

/** One line when spans begin to be lost, and one when they are sent again. */
function tellFailures(exporter: SpanExporter, log: Logger): SpanExporter {
  let isFailing = false;
  return {
    export(spans, tell) {
      exporter.export(spans, result => {
        const failed = result.code === ExportResultCode.FAILED;
        if (failed && !isFailing) log.warn({ error: result.error?.message }, 'spans cannot be sent, and are lost until they can');
        if (!failed && isFailing) log.info('spans are sent again');
        isFailing = failed;
        tell(result);
      });
    },
    forceFlush: async () => exporter.forceFlush?.(),
    shutdown: () => exporter.shutdown(),
  };
}

function isSampled(context: SpanContext | undefined): boolean {
  return context !== undefined && (context.traceFlags & TraceFlags.SAMPLED) !== 0;
}

function toAttributes(attributes: SpanAttributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, typeof value === 'object' ? [...value] : value]));
}

/**
 * Begins to trace. The SDK reads the standard variables itself: endpoint, headers, timeout, sampler, limits, batches, resource. Nothing is
 * registered globally but where the SDK tells of its own troubles.
 */
export async function startOpenTelemetry({ settings, version, log }: OpenTelemetryOptions): Promise<OpenTelemetry> {
  diag.setLogger(
    {
      error: message => log.warn({ error: message }, 'OpenTelemetry'),
      warn: message => log.warn({ error: message }, 'OpenTelemetry'),
      info: () => undefined,
      debug: () => undefined,
      verbose: () => undefined,
    },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  // Of failed exports `tellFailures` has told by then.
  setGlobalErrorHandler(error => log.debug({ error: error instanceof Error ? error.message : String(error) }, 'OpenTelemetry'));
  const exporter = settings.exporter === 'console' ? new ConsoleSpanExporter() : await createOtlpExporter(settings.protocol);
  const provider = new BasicTracerProvider({
    resource: defaultResource()
      .merge(resourceFromAttributes({ 'service.name': 'sessiongraph', 'service.version': version }))
      .merge(detectResources({ detectors: [serviceInstanceIdDetector, envDetector] })),
    spanProcessors: [new BatchSpanProcessor(tellFailures(exporter, log))],
  });
  const tracer = provider.getTracer('sessiongraph', version);
  const propagator = new W3CTraceContextPropagator();
  const active = new AsyncLocalStorage<Context>();

  function toSpan(span: OtelSpan, parent: Context): Span {
    const own = trace.setSpan(parent, span);
    return {
      traceId: span.spanContext().traceId,
      within: work => active.run(own, work),
      beginLinked() {
        const context = span.spanContext();
        if (!isSampled(context)) return null;
        return toSpan(tracer.startSpan('linked', { kind: SpanKind.INTERNAL, links: [{ context }] }, ROOT_CONTEXT), ROOT_CONTEXT);
      },
      end({ name, attributes, failed }) {
        span.updateName(name);
        span.setAttributes(toAttributes(attributes));
        if (failed) span.setStatus({ code: SpanStatusCode.ERROR });
        span.end();
      },
    };
  }

  return {
    tracer: {
      beginServer(headers) {
        const parent = propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
        return toSpan(tracer.startSpan('operation', { kind: SpanKind.SERVER }, parent), parent);
      },
      isUnderWay() {
        const parent = active.getStore();
        return parent !== undefined && isSampled(trace.getSpanContext(parent));
      },
      beginChild(kind) {
        const parent = active.getStore() ?? ROOT_CONTEXT;
        return toSpan(tracer.startSpan('child', { kind: kind === 'client' ? SpanKind.CLIENT : SpanKind.INTERNAL }, parent), parent);
      },
    },
    async close() {
      const flushed = provider.shutdown().catch((error: unknown) => log.debug({ err: error }, 'OpenTelemetry could not be shut down'));
      await Promise.race([flushed, delay(FLUSH_MS, undefined, { ref: false })]);
    },
  };
}
