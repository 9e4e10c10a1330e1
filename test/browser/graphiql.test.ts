import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { findChromium, launchChromium } from '../support/chromium.ts';
import { TEST_WAIT_MS, WAIT_OPTIONS } from '../support/wait-time.ts';

const chromium = findChromium();
if (chromium === null) process.stderr.write('Skipping test/browser: Chromium is not installed (Debian: apt-get install chromium).\n');

const TAB = '.graphiql-tab-button';
const EDITOR = '.graphiql-query-editor';
const RESPONSE = '.graphiql-response';
/** High enough that the editors render all their lines. */
const VIEWPORT = { width: 1600, height: 2400 };

describe.runIf(chromium !== null)('GraphiQL in a browser', () => {
  let app: TestApp;
  let browser: Browser;
  let page: Page;
  let sessionId: string;
  /** Addresses that the page has requested or connected to. */
  const addresses: string[] = [];
  /** Exceptions, and errors in the console, which include violations of the content security policy. */
  const pageErrors: string[] = [];

  beforeAll(async () => {
    app = await startTestApp();
    const create = 'mutation { createSession(input: { title: "Seen in the browser" }) { session { sessionId } } }';
    sessionId = (await app.gql<{ createSession: { session: { sessionId: string } } }>(create)).expectOk().createSession.session.sessionId;
    browser = await launchChromium(String(chromium));
    page = await browser.newPage({ viewport: VIEWPORT });
    page.setDefaultTimeout(TEST_WAIT_MS);
    page.on('request', request => addresses.push(request.url()));
    page.on('websocket', socket => addresses.push(socket.url()));
    page.on('pageerror', error => pageErrors.push(error.message));
    page.on('console', message => {
      if (message.type() === 'error') pageErrors.push(message.text());
    });
    await page.goto(app.url);
  });
  afterAll(() => browser?.close());

  const withText = (selector: string, text: string) => page.locator(selector, { hasText: text });

  async function openTab(name: string): Promise<void> {
    await withText(TAB, name).click();
    await withText(EDITOR, name).waitFor();
  }

  /** Clicks "run" until it worked: shortly after a change of tab, GraphiQL may still try to run the operation of the previous tab. */
  async function runUntil(worked: () => boolean | Promise<boolean>): Promise<void> {
    const run = () => page.locator('.graphiql-execute-button').click();
    await run();
    await vi.waitUntil(async () => {
      if (await worked()) return true;
      if (await withText(RESPONSE, 'Cannot infer operation').isVisible()) await run();
      return false;
    }, WAIT_OPTIONS);
  }

  it('opens with each example in a tab', async () => {
    await page.locator(TAB).nth(5).waitFor();
    const names = await page.locator(TAB).allTextContents();
    expect(names).toEqual(['ListSessions', 'PageThroughSessions', 'Search', 'CreateSession', 'AppendMessage', 'SessionEvents']);
  });

  it('runs a query and shows its data', async () => {
    await openTab('ListSessions');
    await runUntil(() => withText(RESPONSE, 'Seen in the browser').isVisible());
    expect(await page.locator(RESPONSE).textContent()).toContain(sessionId);
  });

  it('shows an appended message in a subscription', async () => {
    await openTab('SessionEvents');
    await runUntil(() => app.app.events.gauges().subscriptions === 1);
    const append =
      'mutation ($id: ID!) { appendMessage(input: { sessionId: $id, message: { role: USER, content: "Live as it comes" } }) { session { id } } }';
    (await app.gql(append, { id: sessionId })).expectOk();
    await withText(RESPONSE, 'Live as it comes').waitFor();
  });

  it('requests nothing from other hosts and logs no errors', () => {
    const { host } = new URL(app.url);
    const elsewhere = addresses.filter(address => !/^(data|blob|about):/.test(address) && new URL(address).host !== host);
    expect(elsewhere).toEqual([]);
    expect(addresses.some(address => address.startsWith('ws:'))).toBe(true);
    expect(pageErrors).toEqual([]);
  });
});
