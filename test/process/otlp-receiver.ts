import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An OTLP attribute value in JSON, of the kinds that the server sends. */
interface OtlpValue {
  readonly stringValue?: string;
  readonly intValue?: number;
  readonly arrayValue?: { readonly values: readonly OtlpValue[] };
}

interface OtlpAttribute {
  readonly key: string;
  readonly value: OtlpValue;
}

/** A span in OTLP/JSON, see https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding */
interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly attributes: readonly OtlpAttribute[];
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly status: { readonly code?: number };
}

interface OtlpRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly OtlpAttribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[];
  }[];
}

/** One request of an exporter. */
interface ExportRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A collector of traces for tests. */
export interface OtlpReceiver {
  readonly url: string;
  readonly exports: readonly ExportRequest[];
  /** All spans received as JSON, with their attributes as an object. */
  spans(): readonly (Omit<OtlpSpan, 'attributes'> & { readonly attributes: Readonly<Record<string, unknown>> })[];
  /** The attributes of the sender's resource. */
  resource(): Readonly<Record<string, unknown>>;
  close(): Promise<void>;
}

function toPlainValue({ stringValue, intValue, arrayValue }: OtlpValue): unknown {
  return stringValue ?? intValue ?? arrayValue?.values.map(toPlainValue);
}

function toAttributeObject(attributes: readonly OtlpAttribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, toPlainValue(value)]));
}

/** Starts a collector. With `answers: false` it accepts every request and never responds. */
export async function startOtlpReceiver({ answers = true } = {}): Promise<OtlpReceiver> {
  const exports: ExportRequest[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    exports.push({ path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks) });
    if (answers) response.writeHead(200, { 'content-type': String(request.headers['content-type']) }).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const received = () => exports.flatMap(({ body }) => (JSON.parse(body.toString()) as OtlpRequest).resourceSpans);
  return {
    url: `http://127.0.0.1:${port}`,
    exports,
    spans: () =>
      received().flatMap(({ scopeSpans }) =>
        scopeSpans.flatMap(({ spans }) => spans.map(span => ({ ...span, attributes: toAttributeObject(span.attributes) }))),
      ),
    resource: () => Object.assign({}, ...received().map(({ resource }) => toAttributeObject(resource.attributes))),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
