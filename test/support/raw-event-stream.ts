/** One server-sent event with its fields as the server sent them. */
export interface RawEvent {
  readonly id?: string;
  readonly event: string;
  readonly data: string;
}

/** A connection to an event stream, parsed by the rules of EventSource but without its reconnects. */
export interface RawEventStream {
  readonly headers: Headers;
  /** Waits for the next event. @throws Error if the stream ends first */
  next(): Promise<RawEvent>;
  /** The number of comment lines received so far. */
  comments(): number;
  /** The last `id:` received, with or without an event. An EventSource sends it as `Last-Event-ID` when it reconnects. */
  lastEventId(): string | null;
  /** The last `retry:` received, in milliseconds. */
  retryMs(): number | null;
  /** Resolves when the server ends the stream; rejects if the connection breaks. */
  readonly ended: Promise<undefined>;
  /** Drops the connection. */
  abort(): void;
}

/** Opens an event stream with a GET request. @throws Error if the response is not a stream */
export async function openEventStream(url: string, headers: Record<string, string> = {}): Promise<RawEventStream> {
  const abortController = new AbortController();
  const response = await fetch(url, { headers: { accept: 'text/event-stream', ...headers }, signal: abortController.signal });
  const { body } = response;
  if (response.status !== 200 || body === null) throw new Error(`Expected an event stream; the response has status ${response.status}.`);
  const received: RawEvent[] = [];
  let comments = 0;
  let retryMs: number | null = null;
  let lastEventId: string | null = null;
  let hasEnded = false;
  let notifyReader: () => void = () => undefined;

  function parseBlock(block: string): void {
    const fields = new Map<string, string>();
    for (const line of block.split('\n')) {
      const colon = line.indexOf(':');
      if (colon === 0) comments += 1;
      else fields.set(line.slice(0, colon), line.slice(colon + 1).replace(/^ /, ''));
    }
    if (fields.has('retry')) retryMs = Number(fields.get('retry'));
    const [id, event, data] = ['id', 'event', 'data'].map(name => fields.get(name));
    lastEventId = id ?? lastEventId;
    if (event !== undefined && data !== undefined) received.push({ ...(id === undefined ? {} : { id }), event, data });
  }

  async function readAll(stream: ReadableStream<Uint8Array>): Promise<undefined> {
    let text = '';
    const decoder = new TextDecoder();
    try {
      for await (const chunk of stream) {
        const blocks = (text + decoder.decode(chunk, { stream: true })).split('\n\n');
        text = blocks.pop() ?? '';
        for (const block of blocks) parseBlock(block);
        notifyReader();
      }
    } finally {
      hasEnded = true;
      notifyReader();
    }
  }

  const ended = readAll(body);
  ended.catch(() => undefined);
  return {
    headers: response.headers,
    async next() {
      while (received.length === 0 && !hasEnded) {
        await new Promise<void>(resolve => {
          notifyReader = resolve;
        });
      }
      const event = received.shift();
      if (event === undefined) throw new Error('The stream has ended.');
      return event;
    },
    comments: () => comments,
    lastEventId: () => lastEventId,
    retryMs: () => retryMs,
    ended,
    abort: () => abortController.abort(),
  };
}
