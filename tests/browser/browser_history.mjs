// A conversation of 10,000 messages.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, noFaults } from './browser.mjs';
import { find, message, openThread, say, signIn, signUp, thread } from './people.mjs';

const NODES = 200;
const { people, count } = JSON.parse(process.env.CHAT_HISTORY);
const [ada, ben] = people;

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

test('10,000 messages scroll with a bounded number of nodes', async () => {
  const person = await signIn(browser, ada);
  const { page } = person;
  await openThread(person, ben);
  const log = thread(person, ben);
  await log.locator(`[data-seq="${count}"]`).waitFor();
  await watchRows(log);
  let step = 0.8;
  let lowest = count;
  const box = await log.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  const deadline = Date.now() + 480_000;
  while (lowest > 1) {
    assert.ok(Date.now() < deadline, `only back to ${lowest}`);
    // Never further than one screen, so that every row is seen: a second turn may
    // still meet the first one in the same frame.
    await page.mouse.wheel(0, -Math.floor(box.height * step));
    step = (await earlierThan(page, lowest)) ? 0.8 : 0.1;
    await comesToRest(log);
    lowest = Math.min(lowest, ...(await shownAtOnce(log)));
  }
  const { seen, most } = await page.evaluate(() => globalThis.rows);
  const missing = Array.from({ length: count }, (_, place) => place + 1).filter((seq) => !seen[seq]);
  assert.deepEqual(missing.slice(0, 10), []);
  assert.ok(most <= NODES, `${most} messages were in the page at once`);
  assert.ok(most > 5, `only ${most} messages were in the page`);
  // And down again with one key.
  await page.getByRole('button', { name: /[Jj]ump to latest/ }).click();
  await log.locator(`[data-seq="${count}"]`).waitFor();
  assert.ok((await shownAtOnce(log)).length <= NODES);
  noFaults(person);
  await person.context.close();
});

/**
 * Whether an earlier row is there soon. If not, the wheel turned at the very
 * top, before the next page was there: then one turns it again.
 */
function earlierThan(page, seq) {
  const look = (before) =>
    [...document.querySelectorAll('[role=log] [data-seq]')].some((row) => Number(row.dataset.seq) < before);
  return page.waitForFunction(look, seq, { timeout: 1_000 }).then(
    () => true,
    (error) => {
      if (error.name !== 'TimeoutError') throw error;
      return false;
    },
  );
}

/** A wheel goes on turning for some frames; the next turn would add to it. */
function comesToRest(log) {
  return log.evaluate(
    (node) =>
      new Promise((resolve) => {
        let [top, still] = [node.scrollTop, 0];
        const look = () => {
          still = node.scrollTop === top ? still + 1 : 0;
          top = node.scrollTop;
          if (still === 2) resolve();
          else requestAnimationFrame(look);
        };
        requestAnimationFrame(look);
      }),
  );
}

/** Notes in every frame which rows are in the page, and how many at the most. */
function watchRows(log) {
  return log.evaluate((node) => {
    const rows = { seen: {}, most: 0 };
    globalThis.rows = rows;
    const look = () => {
      const shown = node.querySelectorAll('[data-testid="message"][data-seq]');
      for (const row of shown) rows.seen[row.dataset.seq] = true;
      rows.most = Math.max(rows.most, shown.length);
      requestAnimationFrame(look);
    };
    look();
  });
}

async function shownAtOnce(log) {
  return log.evaluate((node) =>
    [...node.querySelectorAll('[data-testid="message"][data-seq]')].map((row) => Number(row.dataset.seq)),
  );
}

test('a page of history that fails is asked for again, while nobody scrolls', async () => {
  const person = await signIn(browser, ada, { expected: /net::ERR_FAILED/ });
  const { page } = person;
  let refused = 0;
  // All that is asked for in one go fails, and then once more.
  await page.route(/\/api\/messages\?.*before=/, (route) => {
    refused += 1;
    return refused <= 2 ? route.abort() : route.continue();
  });
  await openThread(person, ben);
  const log = thread(person, ben);
  const newest = log.locator(`[data-seq="${count}"]`);
  await newest.waitFor();
  const box = await log.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  const trouble = page.getByText('Earlier messages could not be loaded.');
  const deadline = Date.now() + 60_000;
  while (!(await trouble.isVisible())) {
    assert.ok(Date.now() < deadline, 'no page failed');
    await page.mouse.wheel(0, -Math.floor(box.height));
    await trouble.waitFor({ timeout: 1_000 }).catch(() => {});
  }
  await page.waitForResponse((answer) => /\/api\/messages\?.*before=/.test(answer.url()) && answer.ok());
  await trouble.waitFor({ state: 'detached' });
  assert.ok(refused > 2);
  noFaults(person);
  await person.context.close();
});

test('opening puts the first unread message in view', async () => {
  const [sender, reader] = await Promise.all([signUp(browser, 'sam'), signUp(browser, 'rita')]);
  await find(sender, reader);
  await say(sender, reader, 'read this one');
  await openThread(reader, sender);
  await message(sender, reader, 'read this one', 'read').waitFor();
  await reader.page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'People' }).click();
  await reader.page.getByRole('heading', { name: 'People', level: 1 }).or(
    reader.page.getByRole('heading', { name: 'People' }),
  ).first().waitFor();
  for (let number = 1; number <= 60; number += 1) await say(sender, reader, `unread ${number}.`);
  await message(sender, reader, 'unread 60.', 'stored').waitFor({ timeout: 30_000 });
  await openThread(reader, sender);
  const first = message(reader, sender, 'unread 1.');
  await first.waitFor();
  assert.ok(await inView(first), 'the first unread message is not in view');
  await thread(reader, sender).getByRole('separator', { name: 'Unread messages' }).waitFor();
  noFaults(sender, reader);
  await Promise.all([sender, reader].map(({ context }) => context.close()));
});

function inView(row) {
  return row.evaluate((node) => {
    const log = node.closest('[role=log]').getBoundingClientRect();
    const { top, bottom } = node.getBoundingClientRect();
    return top >= log.top - 1 && bottom <= log.bottom + 1;
  });
}
