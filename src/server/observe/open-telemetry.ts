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

/** Tracing with OpenTelemetry, started. */
export interface OpenTelemetry {
  readonly tracer: Tracer;
  /** Sends the remaining spans. Takes two seconds at most. */
  close(): Promise<void>;
}

export interface OpenTelemetryOptions {
  readonly settings: NonNullable<Config['tracing']>;
  /** The version of this program. */
  readonly version: string;
  readonly log: Logger;
}

/** If the collector takes longer, the last spans are lost. */
const FLUSH_MS = 2_000;

async function createOtlpExporter(protocol: NonNullable<Config['tracing']>['protocol']): Promise<SpanExporter> {
  const { OTLPTraceExporter } =
    protocol === 'http/json'
      ? await import('@opentelemetry/exporter-trace-otlp-http')
      : await import('@opentelemetry/exporter-trace-otlp-proto');
  return new OTLPTraceExporter();
}

/** Logs when sending spans begins to fail, and when it works again. */
function logFailures(exporter: SpanExporter, log: Logger): SpanExporter {
  let isFailing = false;
  return {
    export(spans, onResult) {
      exporter.export(spans, result => {
        const failed = result.code === ExportResultCode.FAILED;
        if (failed && !isFailing) log.warn({ error: result.error?.message }, 'spans cannot be sent and are lost');
        if (!failed && isFailing) log.info('spans can be sent again');
        isFailing = failed;
        onResult(result);
      });
    },
    forceFlush: async () => exporter.forceFlush?.(),
    shutdown: () => exporter.shutdown(),
  };
}

function isSampledContext(context: SpanContext | undefined): boolean {
  return context !== undefined && (context.traceFlags & TraceFlags.SAMPLED) !== 0;
}

function toAttributes(attributes: SpanAttributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, typeof value === 'object' ? [...value] : value]));
}

/**
 * Starts tracing. The SDK reads the standard environment variables for the endpoint, headers, timeout, sampler, limits, batches and resource.
 * Only the SDK's error handlers are registered globally.
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
  // `logFailures` has already logged failed exports.
  setGlobalErrorHandler(error => log.debug({ error: error instanceof Error ? error.message : String(error) }, 'OpenTelemetry'));
  const exporter = settings.exporter === 'console' ? new ConsoleSpanExporter() : await createOtlpExporter(settings.protocol);
  const provider = new BasicTracerProvider({
    resource: defaultResource()
      .merge(resourceFromAttributes({ 'service.name': 'sessiongraph', 'service.version': version }))
      .merge(detectResources({ detectors: [serviceInstanceIdDetector, envDetector] })),
    spanProcessors: [new BatchSpanProcessor(logFailures(exporter, log))],
  });
  const tracer = provider.getTracer('sessiongraph', version);
  const propagator = new W3CTraceContextPropagator();
  const active = new AsyncLocalStorage<Context>();

  function toSpan(span: OtelSpan, parent: Context): Span {
    const spanContext = trace.setSpan(parent, span);
    return {
      traceId: span.spanContext().traceId,
      run: work => active.run(spanContext, work),
      startLinkedSpan() {
        const context = span.spanContext();
        if (!isSampledContext(context)) return null;
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
      startServerSpan(headers) {
        const parent = propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
        return toSpan(tracer.startSpan('operation', { kind: SpanKind.SERVER }, parent), parent);
      },
      isSampled() {
        const parent = active.getStore();
        return parent !== undefined && isSampledContext(trace.getSpanContext(parent));
      },
      startChildSpan(kind) {
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
