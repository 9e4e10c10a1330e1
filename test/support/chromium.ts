import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { WebSocket } from 'ws';

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
];

/** Where a Chromium is installed; null where there is none. */
export function findChromium(): string | null {
  return PLACES.find(path => existsSync(path)) ?? null;
}

/** One page of a headless browser. */
export interface BrowserPage {
  /** Every address the page has asked for or connected to. */
  readonly addresses: readonly string[];
  /** What the page has complained of: exceptions, errors in the console, requests its policy has forbidden. */
  readonly complaints: readonly string[];
  /** Runs an expression in the page and gives its value, awaited. @throws Error where it throws */
  evaluate<Value>(expression: string): Promise<Value>;
  /** Resolves once the expression is true; looks again whenever the document changes. */
  waitFor(expression: string): Promise<void>;
}

/** A headless browser with a profile of its own. */
export interface Browser {
  open(url: string): Promise<BrowserPage>;
  close(): Promise<void>;
}

interface ProtocolMessage {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

/** The Chrome DevTools Protocol over one WebSocket. */
class DevTools {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, { resolve(result: Record<string, unknown>): void; reject(error: Error): void }>();
  readonly #listeners: ((method: string, params: Record<string, unknown>) => void)[] = [];
  #last = 0;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', data => this.#receive(JSON.parse(String(data)) as ProtocolMessage));
  }

  send(method: string, params: Record<string, unknown> = {}, sessionId?: string): Promise<Record<string, unknown>> {
    this.#last += 1;
    const id = this.#last;
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  onEvent(listener: (method: string, params: Record<string, unknown>) => void): void {
    this.#listeners.push(listener);
  }

  #receive({ id, method, params = {}, result = {}, error }: ProtocolMessage): void {
    if (method !== undefined) for (const listener of this.#listeners) listener(method, params);
    const waiting = id === undefined ? undefined : this.#waiting.get(id);
    if (id === undefined || waiting === undefined) return;
    this.#waiting.delete(id);
    if (error === undefined) waiting.resolve(result);
    else waiting.reject(new Error(error.message));
  }
}

async function findEndpoint(process: ChildProcess): Promise<string> {
  if (process.stderr === null) throw new Error('The browser has no standard error.');
  const lines: string[] = [];
  for await (const line of createInterface({ input: process.stderr })) {
    lines.push(line);
    const endpoint = /^DevTools listening on (ws:\S+)/.exec(line)?.[1];
    if (endpoint !== undefined) return endpoint;
  }
  throw new Error(`The browser did not start:\n${lines.join('\n')}`);
}

function field(value: unknown, ...path: string[]): unknown {
  return path.reduce<unknown>((inner, key) => (typeof inner === 'object' && inner !== null ? Reflect.get(inner, key) : undefined), value);
}

/** Starts the browser at the path. */
export async function launchChromium(path: string): Promise<Browser> {
  const profile = await mkdtemp(join(tmpdir(), 'sessiongraph-browser-'));
  const flags = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--no-first-run',
    '--disable-background-networking',
  ];
  const process = spawn(
    path,
    [...flags, '--window-size=1600,2400', '--remote-debugging-port=0', `--user-data-dir=${profile}`, 'about:blank'],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  const exited = once(process, 'exit');
  const socket = new WebSocket(await findEndpoint(process), { perMessageDeflate: false });
  await once(socket, 'open');
  const tools = new DevTools(socket);

  async function open(url: string): Promise<BrowserPage> {
    const addresses: string[] = [];
    const complaints: string[] = [];
    tools.onEvent((method, params) => {
      if (method === 'Network.requestWillBeSent') addresses.push(String(field(params, 'request', 'url')));
      if (method === 'Network.webSocketCreated') addresses.push(String(params.url));
      if (method === 'Runtime.exceptionThrown') complaints.push(String(field(params, 'exceptionDetails', 'exception', 'description')));
      if (method === 'Log.entryAdded' && field(params, 'entry', 'level') === 'error')
        complaints.push(String(field(params, 'entry', 'text')));
    });
    const { targetId } = await tools.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await tools.send('Target.attachToTarget', { targetId, flatten: true });
    const send = (method: string, params?: Record<string, unknown>) => tools.send(method, params, String(sessionId));
    await Promise.all(['Network', 'Runtime', 'Log', 'Page'].map(domain => send(`${domain}.enable`)));
    await send('Page.navigate', { url });

    async function evaluate<Value>(expression: string): Promise<Value> {
      const answer = await send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
      if (answer.exceptionDetails !== undefined) throw new Error(String(field(answer, 'exceptionDetails', 'exception', 'description')));
      return field(answer, 'result', 'value') as Value;
    }

    return {
      addresses,
      complaints,
      evaluate,
      waitFor: expression =>
        evaluate(`new Promise(resolve => {
          const look = () => { if (${expression}) { observer.disconnect(); resolve(); } };
          const observer = new MutationObserver(look);
          observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
          look();
        })`),
    };
  }

  return {
    open,
    async close() {
      socket.close();
      process.kill();
      await exited;
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
