// Every state of the pages: accessible, at both widths, in both themes.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { accessible } from './axe.mjs';
import { launch, noFaults, open } from './browser.mjs';
import { composer, find, message, openThread, say, signUp, thread } from './people.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

test('pages without a session have no violation', async () => {
  // Chromium logs the answer to a form with mistakes.
  const person = await open(browser, { expected: /the server responded with a status of 400/ });
  const { page } = person;
  await page.goto('/');
  await page.getByRole('heading', { name: 'Welcome back' }).waitFor();
  await accessible(page, 'sign-in');
  await page.getByLabel('E-mail', { exact: true }).fill('nobody@example.org');
  await page.getByLabel('Password', { exact: true }).fill('not the password');
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByRole('alert').waitFor();
  await accessible(page, 'sign-in refused');
  await page.getByRole('link', { name: 'Create an account' }).click();
  await page.getByRole('heading', { name: 'Create your account' }).waitFor();
  await accessible(page, 'sign-up');
  await page.getByLabel('Username', { exact: true }).fill('x');
  await page.getByLabel('E-mail', { exact: true }).fill('nothing');
  await page.getByLabel('Password', { exact: true }).fill('short');
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.locator('[aria-invalid="true"]').first().waitFor();
  await accessible(page, 'sign-up refused');
  noFaults(person);
  await person.context.close();
});

test('pages with a session have no violation', async () => {
  const [ada, ben] = await Promise.all([signUp(browser, 'ada'), signUp(browser, 'ben')]);
  const { page } = ada;
  await accessible(page, 'no conversations');
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'People' }).click();
  await page.getByRole('searchbox', { name: 'Search people' }).fill('nobody has this name');
  await accessible(page, 'nobody found');
  await find(ada, ben);
  await accessible(page, 'empty thread');
  await say(ada, ben, 'Hello Ben, see https://example.org/');
  await message(ada, ben, 'Hello Ben', 'stored').waitFor();
  await ben.page
    .getByRole('list', { name: 'Conversations' })
    .getByRole('link', { name: /1 unread/ })
    .waitFor();
  await accessible(ben.page, 'unread conversation');
  await ben.page.getByRole('button', { name: /^Notices/ }).click();
  const notices = ben.page.getByRole('dialog', { name: 'Notices' });
  await notices.getByRole('link').first().waitFor();
  await accessible(ben.page, 'notices');
  await ben.page.keyboard.press('Escape');
  await openThread(ben, ada);
  for (let number = 0; number < 12; number += 1) await say(ben, ada, `line ${number}\nand another`);
  await message(ada, ben, 'line 11', 'received').waitFor();
  await accessible(page, 'thread');
  await composer(ben, ada).pressSequentially('I am');
  await page.getByRole('status', { name: 'Typing' }).getByText('is typing').waitFor();
  await accessible(page, 'thread with typing');
  await page.getByRole('button', { name: 'Account' }).click();
  await page.getByRole('dialog', { name: 'Your account' }).waitFor();
  await accessible(page, 'account');
  await page.getByText('Keyboard', { exact: true }).click();
  await accessible(page, 'account with keys');
  await page.getByRole('button', { name: 'Change password' }).click();
  await page.getByRole('dialog', { name: 'Change password' }).getByLabel('New password', { exact: true }).fill('short');
  await accessible(page, 'change of the password');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  await ada.context.setOffline(true);
  await page.getByRole('status', { name: 'Connection' }).waitFor();
  await say(ada, ben, 'waiting');
  await message(ada, ben, 'waiting', 'sending').waitFor();
  await accessible(page, 'offline');
  await ada.context.setOffline(false);
  await message(ada, ben, 'waiting', 'stored', 'read').waitFor({ timeout: 30_000 });
  noFaults(ada, ben);
  await Promise.all([ada, ben].map(({ context }) => context.close()));
});

test('the keyboard alone signs up and sends the first message', async () => {
  const ben = await signUp(browser, 'ben');
  const ada = await open(browser);
  const { page } = ada;
  await page.goto('/sign-up');
  await page.getByRole('heading', { name: 'Create your account' }).waitFor();
  const name = `keys_${ben.username.slice(4)}`;
  await tabTo(page, page.getByLabel('Username', { exact: true }));
  await page.keyboard.type(name);
  await tabTo(page, page.getByLabel('E-mail', { exact: true }));
  await page.keyboard.type(`${name}@example.org`);
  await tabTo(page, page.getByLabel('Password', { exact: true }));
  await page.keyboard.type(ben.password);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Chats' }).waitFor();
  await tabTo(page, page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'People' }));
  await page.keyboard.press('Enter');
  const search = page.getByRole('searchbox', { name: 'Search people' });
  await search.waitFor();
  await tabTo(page, search);
  await page.keyboard.type(ben.username);
  const entry = page
    .getByRole('list', { name: 'People' })
    .getByRole('button', { name: new RegExp(`^${ben.username}\\b`) });
  await entry.waitFor();
  await tabTo(page, entry);
  await page.keyboard.press('Enter');
  await thread(ada, ben).waitFor();
  await tabTo(page, composer(ada, ben));
  await page.keyboard.type('without a mouse');
  await page.keyboard.press('Enter');
  await message(ada, ben, 'without a mouse', 'stored', 'read').waitFor();
  noFaults(ada, ben);
  await Promise.all([ada, ben].map(({ context }) => context.close()));
});

test('one key goes round the parts of the screen, and the first link skips them', async () => {
  const [ada, ben] = await Promise.all([signUp(browser, 'ada'), signUp(browser, 'ben')]);
  await find(ada, ben);
  const { page } = ada;
  const write = composer(ada, ben);
  const chats = page.getByRole('list', { name: 'Conversations' }).getByRole('link').first();
  const first = page.getByRole('navigation', { name: 'Main' }).getByRole('link').first();
  await write.focus();
  for (const next of [first, chats, write]) {
    await page.keyboard.press('F6');
    assert.ok(await hasFocus(next));
  }
  for (const before of [chats, first, write]) {
    await page.keyboard.press('Shift+F6');
    assert.ok(await hasFocus(before));
  }
  await page.reload();
  await write.waitFor();
  const skip = page.getByRole('link', { name: 'Skip to content' });
  await tabTo(page, skip);
  await accessible(page, 'skip link');
  await page.keyboard.press('Enter');
  assert.ok(await hasFocus(write));
  noFaults(ada, ben);
  await Promise.all([ada, ben].map(({ context }) => context.close()));
});

function hasFocus(target) {
  return target.evaluate((node) => node === document.activeElement);
}

/** Presses Tab until the element has the focus. */
async function tabTo(page, target) {
  for (let presses = 0; presses < 60; presses += 1) {
    if (await hasFocus(target)) return;
    await page.keyboard.press('Tab');
  }
  assert.fail('Tab does not reach it');
}

test('core flows pass at phone width', async () => {
  const phone = { width: 390, height: 780, hasTouch: true };
  const [ada, ben] = await Promise.all([signUp(browser, 'ada', phone), signUp(browser, 'ben', phone)]);
  await find(ada, ben);
  await composer(ada, ben).fill('from a phone');
  await ada.page.getByRole('button', { name: 'Send message' }).click();
  await message(ada, ben, 'from a phone', 'stored', 'read').waitFor();
  await openThread(ben, ada);
  await message(ben, ada, 'from a phone').waitFor();
  await composer(ben, ada).fill('back');
  await ben.page.getByRole('button', { name: 'Send message' }).click();
  await message(ada, ben, 'back', 'received').waitFor();
  for (const { page } of [ada, ben]) {
    const tooWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    assert.equal(tooWide, false, 'the page scrolls sideways');
  }
  noFaults(ada, ben);
  await Promise.all([ada, ben].map(({ context }) => context.close()));
});
