import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { type Browser, type BrowserPage, findChromium, launchChromium } from '../support/chromium.ts';
import { WAIT_OPTIONS } from '../support/wait-time.ts';

const chromium = findChromium();
if (chromium === null) process.stderr.write('test/browser is left out: no Chromium is installed (Debian: apt-get install chromium).\n');

/** What an element shows; Monaco writes spaces as no-break spaces. */
const TEXT = (selector: string) => `(document.querySelector('${selector}')?.textContent ?? '').replaceAll('\\u00a0', ' ')`;
const RESPONSE = TEXT('.graphiql-response');
const TABS = `[...document.querySelectorAll('.graphiql-tab-button')]`;

describe.runIf(chromium !== null)('GraphiQL in a browser', () => {
  let app: TestApp;
  let browser: Browser;
  let page: BrowserPage;
  let sessionId: string;

  beforeAll(async () => {
    app = await startTestApp();
    const create = 'mutation { createSession(input: { title: "Seen in the browser" }) { session { sessionId } } }';
    sessionId = (await app.gql<{ createSession: { session: { sessionId: string } } }>(create)).expectOk().createSession.session.sessionId;
    browser = await launchChromium(String(chromium));
    page = await browser.open(app.url);
  });
  afterAll(() => browser?.close());

  async function openTab(name: string): Promise<void> {
    await page.waitFor(`${TABS}.some(tab => tab.textContent === '${name}')`);
    await page.evaluate(`${TABS}.find(tab => tab.textContent === '${name}').click()`);
    await page.waitFor(`${TEXT('.graphiql-query-editor')}.includes('${name}')`);
  }

  /** Presses play until it has worked: for a moment after a change of tab GraphiQL still has the operation of the tab before in mind. */
  async function runUntil(worked: () => boolean | Promise<boolean>): Promise<void> {
    const failed = async () => (await page.evaluate<string>(RESPONSE)).includes('Cannot infer operation');
    const press = () => page.evaluate(`document.querySelector('.graphiql-execute-button').click()`);
    await page.waitFor(`document.querySelector('.graphiql-execute-button')`);
    await press();
    await vi.waitUntil(async () => {
      if (await worked()) return true;
      if (await failed()) await press();
      return false;
    }, WAIT_OPTIONS);
  }

  it('opens with the examples, each in a tab', async () => {
    await page.waitFor(`${TABS}.length === 6`);
    const names = await page.evaluate<string[]>(`${TABS}.map(tab => tab.textContent)`);
    expect(names).toEqual(['ListSessions', 'PageThroughSessions', 'Search', 'CreateSession', 'AppendMessage', 'SessionEvents']);
  });

  it('runs a query and shows its data', async () => {
    await openTab('ListSessions');
    await runUntil(() => page.evaluate(`${RESPONSE}.includes('Seen in the browser')`));
    expect(await page.evaluate<string>(RESPONSE)).toContain(sessionId);
  });

  it('shows an appended message in a subscription', async () => {
    await openTab('SessionEvents');
    await runUntil(() => app.app.events.gauges().subscriptions === 1);
    const append =
      'mutation ($id: ID!) { appendMessage(input: { sessionId: $id, message: { role: USER, content: "Live as it comes" } }) { session { id } } }';
    (await app.gql(append, { id: sessionId })).expectOk();
    await page.waitFor(`${RESPONSE}.includes('Live as it comes')`);
  });

  it('has asked for nothing from elsewhere, and complained of nothing', () => {
    const { host } = new URL(app.url);
    const elsewhere = page.addresses.filter(address => !/^(data|blob|about):/.test(address) && new URL(address).host !== host);
    expect(elsewhere).toEqual([]);
    expect(page.addresses.some(address => address.startsWith('ws:'))).toBe(true);
    expect(page.complaints).toEqual([]);
  });
});
