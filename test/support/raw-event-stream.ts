/** An event as the stream has it. */
export interface RawEvent {
  readonly id?: string;
  readonly event: string;
  readonly data: string;
}

/** An event stream, read as an EventSource reads it. */
export interface RawEventStream {
  readonly headers: Headers;
  /** The next event, waiting for it. @throws Error where the stream ends before */
  next(): Promise<RawEvent>;
  /** Comments so far. */
  comments(): number;
  /** The last `id:` so far, with or without an event: what an EventSource sends when it comes again. */
  lastEventId(): string | null;
  /** The last `retry:` so far, in milliseconds. */
  retryMs(): number | null;
  /** Resolves when the server has ended the stream; rejects where the connection broke. */
  readonly ended: Promise<undefined>;
  /** Cuts the connection. */
  cut(): void;
}

/** Opens one by GET; rejects where the answer is none. */
export async function openEventStream(url: string, headers: Record<string, string> = {}): Promise<RawEventStream> {
  const control = new AbortController();
  const response = await fetch(url, { headers: { accept: 'text/event-stream', ...headers }, signal: control.signal });
  const { body } = response;
  if (response.status !== 200 || body === null) throw new Error(`No event stream: ${response.status}`);
  const arrived: RawEvent[] = [];
  let comments = 0;
  let retryMs: number | null = null;
  let lastEventId: string | null = null;
  let isOver = false;
  let wake: () => void = () => undefined;

  function take(block: string): void {
    const fields = new Map<string, string>();
    for (const line of block.split('\n')) {
      const colon = line.indexOf(':');
      if (colon === 0) comments += 1;
      else fields.set(line.slice(0, colon), line.slice(colon + 1).replace(/^ /, ''));
    }
    if (fields.has('retry')) retryMs = Number(fields.get('retry'));
    const [id, event, data] = ['id', 'event', 'data'].map(name => fields.get(name));
    lastEventId = id ?? lastEventId;
    if (event !== undefined && data !== undefined) arrived.push({ ...(id === undefined ? {} : { id }), event, data });
  }

  async function read(stream: ReadableStream<Uint8Array>): Promise<undefined> {
    let text = '';
    const decoder = new TextDecoder();
    try {
      for await (const chunk of stream) {
        const blocks = (text + decoder.decode(chunk, { stream: true })).split('\n\n');
        text = blocks.pop() ?? '';
        for (const block of blocks) take(block);
        wake();
      }
    } finally {
      isOver = true;
      wake();
    }
  }

  const ended = read(body);
  ended.catch(() => undefined);
  return {
    headers: response.headers,
    async next() {
      while (arrived.length === 0 && !isOver) {
        await new Promise<void>(resolve => {
          wake = resolve;
        });
      }
      const event = arrived.shift();
      if (event === undefined) throw new Error('The stream has ended.');
      return event;
    },
    comments: () => comments,
    lastEventId: () => lastEventId,
    retryMs: () => retryMs,
    ended,
    cut: () => control.abort(),
  };
}
