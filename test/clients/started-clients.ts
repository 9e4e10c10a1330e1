import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { EventSource as NodeEventSource } from 'eventsource';
import type { Client as LiveClient } from 'graphql-ws';
import { transformWithOxc } from 'vite';
import { WebSocket } from 'ws';
import * as apollo from '../../docs/examples/apollo.ts';
import * as eventSource from '../../docs/examples/event-source.ts';
import * as graphqlWs from '../../docs/examples/graphql-ws.ts';
import { createLiveClient } from '../../docs/examples/live-client.ts';
import type { Message } from '../../docs/examples/messages.ts';
import { createRelayNetwork } from '../../docs/examples/relay.ts';
import * as urql from '../../docs/examples/urql.ts';
import { findChromium, launchChromium } from '../support/chromium.ts';
import type { CuttingProxy } from './cutting-proxy.ts';

/** Everything a client has shown so far. */
export interface Shown {
  /** The number of messages, each time it showed them. */
  readonly lengths: readonly number[];
  /** The positions of the messages that it showed last. */
  readonly last: readonly number[];
  readonly failures: readonly string[];
}

/** A running example. */
export interface StartedClient {
  shown(): Promise<Shown>;
  stop(): Promise<void>;
}

type Follow = (sessionId: string, show: (messages: Message[]) => void, fail: (reason: unknown) => void) => () => void;

function start(follow: Follow, sessionId: string): Promise<StartedClient> {
  const lengths: number[] = [];
  const failures: string[] = [];
  let last: readonly number[] = [];
  const show = (messages: Message[]) => {
    lengths.push(messages.length);
    last = messages.map(({ position }) => position);
  };
  const stop = follow(sessionId, show, reason => void failures.push(JSON.stringify(reason)));
  return Promise.resolve({ shown: async () => ({ lengths, last, failures }), stop: async () => stop() });
}

const EXAMPLES = new URL('../../docs/examples/', import.meta.url);

/** Serves the example files to a browser as JavaScript, as a bundler does. */
async function serveExamples(): Promise<Server> {
  const server = createServer(async ({ url = '/' }, response) => {
    const name = /^\/([\w-]+\.ts)$/.exec(url)?.[1];
    if (name === undefined) return response.setHeader('content-type', 'text/html').end('<!doctype html><title>An example</title>');
    const { code } = await transformWithOxc(await readFile(new URL(name, EXAMPLES), 'utf8'), name);
    return response.setHeader('content-type', 'text/javascript').end(code);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

/** A page in a browser that runs the example for browsers. Its origin is not that of the server. */
export interface ExamplePage {
  readonly origin: string;
  start(url: string, sessionId: string): Promise<StartedClient>;
  close(): Promise<void>;
}

/** Opens the page. Returns null if no Chromium is installed. */
export async function openExamplePage(): Promise<ExamplePage | null> {
  const chromium = findChromium();
  if (chromium === null) return null;
  const server = await serveExamples();
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The examples have no port.');
  const origin = `http://127.0.0.1:${address.port}`;
  const browser = await launchChromium(chromium);
  const page = await browser.newPage();
  await page.goto(origin);
  return {
    origin,
    async start(url, sessionId) {
      await page.evaluate(`(async () => {
        const { followMessages } = await import('/event-source.ts');
        const seen = { lengths: [], last: [], failures: [] };
        const show = messages => { seen.lengths.push(messages.length); seen.last = messages.map(({ position }) => position); };
        const stop = followMessages('${url}', '${sessionId}', show, reason => seen.failures.push(JSON.stringify(reason)));
        Object.assign(window, { seen, stop });
      })()`);
      return { shown: () => page.evaluate<Shown>('window.seen'), stop: () => page.evaluate('window.stop()') };
    },
    async close() {
      await browser.close();
      server.close();
    },
  };
}

/** Starts each example that runs in Node, with its own connection through the proxy. */
export const NODE_CLIENTS: Readonly<Record<string, (proxy: CuttingProxy, sessionId: string) => Promise<StartedClient>>> = {
  'graphql-ws': ({ webSocketUrl }, id) => start((...rest) => graphqlWs.followMessages(live(webSocketUrl), ...rest), id),
  urql: ({ url, webSocketUrl }, id) => start((...rest) => urql.followMessages(urql.createUrqlClient(url, live(webSocketUrl)), ...rest), id),
  'Apollo Client': ({ url, webSocketUrl }, id) =>
    start((...rest) => apollo.followMessages(apollo.createApolloClient(url, live(webSocketUrl)), ...rest), id),
  Relay: ({ url, webSocketUrl }, id) => start((...rest) => graphqlWs.followMessages(throughRelay(url, live(webSocketUrl)), ...rest), id),
  'EventSource in Node': ({ url }, id) =>
    start((sessionId, show, fail) => eventSource.followMessages(url, sessionId, show, fail, address => new NodeEventSource(address)), id),
};

function live(url: string) {
  return createLiveClient({ url, webSocketImpl: WebSocket });
}

/** Subscribes through the network functions of the example for Relay, as Relay calls them. */
function throughRelay(url: string, client: LiveClient): LiveClient {
  const network = createRelayNetwork(url, client);
  const subscribe: LiveClient['subscribe'] = ({ query, variables }, sink) =>
    network.subscribe({ text: query }, variables ?? {}).subscribe(sink).unsubscribe;
  return { ...client, subscribe };
}
