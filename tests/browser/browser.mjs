// Chromium, and pages that notice everything that must not happen.

import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

export const url = process.env.CHAT_URL;
assert(url, 'CHAT_URL is not set: cargo run -p chat-e2e --example stack -- npm test');

const ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // The host of the earlier systems: a test on a Kubernetes node serves it.
  '--host-resolver-rules=MAP ag.dev 127.0.0.1',
];

export function launch() {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  return chromium.launch({ executablePath, args: ARGS });
}

/**
 * A page in a browser profile of its own. `faults` must be empty in the end;
 * `expected` says which lines of the console are none.
 */
export async function open(
  browser,
  { width = 1280, height = 800, theme = 'light', expected, ...more } = {},
) {
  const context = await browser.newContext({
    // In tests nobody signs certificates whom browsers know.
    ignoreHTTPSErrors: true,
    viewport: { width, height },
    colorScheme: theme,
    reducedMotion: 'reduce',
    baseURL: url,
    ...more,
  });
  const faults = [];
  await context.exposeFunction('reportViolation', (text) => faults.push(`CSP: ${text}`));
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      window.reportViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  watch(page, faults, expected);
  return { context, page, faults };
}

function watch(page, faults, expected) {
  const ours = new URL(url).origin;
  page.on('request', (request) => {
    const target = new URL(request.url());
    const local = ['data:', 'blob:'].includes(target.protocol);
    if (!local && target.origin !== ours) faults.push(`request to ${request.url()}`);
  });
  page.on('websocket', (socket) => {
    if (new URL(socket.url()).host !== new URL(url).host) faults.push(`socket to ${socket.url()}`);
  });
  page.on('pageerror', (error) => faults.push(`error: ${error.stack ?? error}`));
  page.on('console', (message) => {
    if (!['error', 'warning'].includes(message.type())) return;
    const text = message.text();
    if (!isExpected(text) && !expected?.test(text)) faults.push(`console: ${text}`);
  });
}

// Chromium itself logs each request that fails: without a session the first
// question gets 401, and a test that goes offline fails some on purpose.
function isExpected(text) {
  return (
    /Failed to load resource: the server responded with a status of 401/.test(text) ||
    /net::ERR_INTERNET_DISCONNECTED/.test(text) ||
    /WebSocket connection to .* failed/.test(text)
  );
}

export function noFaults(...people) {
  for (const { faults } of people) assert.deepEqual(faults, []);
}
