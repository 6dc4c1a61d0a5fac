// Two people in two browsers, from sign-up to a conversation that stays.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, noFaults } from './browser.mjs';
import { composer, find, message, openThread, say, shown, signIn, signUp } from './people.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

async function together(look) {
  const [ada, ben] = await Promise.all([
    signUp(browser, 'ada', look),
    signUp(browser, 'ben', look),
  ]);
  await find(ada, ben);
  return [ada, ben];
}

async function leave(...people) {
  noFaults(...people);
  await Promise.all(people.map(({ context }) => context.close()));
}

test('two people sign up, find each other and chat both ways', async () => {
  const [ada, ben] = await together();
  await say(ada, ben, 'Hello Ben');
  await openThread(ben, ada);
  await message(ben, ada, 'Hello Ben', 'received').waitFor();
  await say(ben, ada, 'Hello Ada');
  await message(ada, ben, 'Hello Ada', 'received').waitFor();
  assert.deepEqual(textsOf(await shown(ada, ben)), ['Hello Ben', 'Hello Ada']);
  await leave(ada, ben);
});

test('typing and read marks are seen by the other', async () => {
  const [ada, ben] = await together();
  await say(ada, ben, 'Do you read me?');
  await message(ada, ben, 'Do you read me?', 'stored', 'read').waitFor();
  await openThread(ben, ada);
  await message(ada, ben, 'Do you read me?', 'read').waitFor();
  await composer(ben, ada).pressSequentially('Yes');
  await ada.page.getByRole('status', { name: 'Typing' }).getByText(`${ben.username} is typing`).waitFor();
  await composer(ben, ada).press('Enter');
  await message(ada, ben, 'Yes', 'received').waitFor();
  await ada.page
    .getByRole('status', { name: 'Typing' })
    .getByText(`${ben.username} is typing`)
    .waitFor({ state: 'hidden' });
  await leave(ada, ben);
});

test('who goes offline, writes and comes back has lost nothing', async () => {
  const [ada, ben] = await together();
  await say(ada, ben, 'before');
  await message(ada, ben, 'before', 'stored', 'read').waitFor();
  await openThread(ben, ada);
  await message(ben, ada, 'before').waitFor();
  await ben.context.setOffline(true);
  await ben.page.getByRole('status', { name: 'Connection' }).waitFor();
  await say(ben, ada, 'written offline 1');
  await say(ben, ada, 'written offline 2');
  await message(ben, ada, 'written offline 2', 'sending').waitFor();
  await say(ada, ben, 'meanwhile');
  await message(ada, ben, 'meanwhile', 'stored').waitFor();
  await ben.context.setOffline(false);
  await message(ben, ada, 'meanwhile', 'received').waitFor({ timeout: 30_000 });
  for (const text of ['written offline 1', 'written offline 2']) {
    await message(ben, ada, text, 'stored', 'read').waitFor({ timeout: 30_000 });
    await message(ada, ben, text, 'received').waitFor();
    assert.equal(await message(ada, ben, text).count(), 1);
    assert.equal(await message(ben, ada, text).count(), 1);
  }
  await ben.page.getByRole('status', { name: 'Connection' }).waitFor({ state: 'hidden' });
  const order = await texts(ada, ben);
  assert.deepEqual(order, await texts(ben, ada));
  assert.deepEqual(order, ['before', 'meanwhile', 'written offline 1', 'written offline 2']);
  await leave(ada, ben);
});

test('a message written offline outlives a reload', async () => {
  const [ada, ben] = await together();
  await ada.context.setOffline(true);
  await ada.page.getByRole('status', { name: 'Connection' }).waitFor();
  await say(ada, ben, 'kept in the browser');
  await message(ada, ben, 'kept in the browser', 'sending').waitFor();
  // The outbox is written in the background; the row is shown when it is.
  await ada.context.setOffline(false);
  await ada.page.reload();
  await message(ada, ben, 'kept in the browser', 'stored', 'read').waitFor({ timeout: 30_000 });
  await openThread(ben, ada);
  await message(ben, ada, 'kept in the browser').waitFor();
  assert.equal(await message(ben, ada, 'kept in the browser').count(), 1);
  await leave(ada, ben);
});

test('a reload keeps all', async () => {
  const [ada, ben] = await together();
  for (const text of ['one', 'two', 'three']) {
    await say(ada, ben, text);
    await message(ada, ben, text, 'stored', 'read').waitFor();
  }
  const before = await texts(ada, ben);
  await ada.page.reload();
  await message(ada, ben, 'three').waitFor();
  assert.deepEqual(await texts(ada, ben), before);
  const elsewhere = await signIn(browser, ada);
  await openThread(elsewhere, ben);
  await message(elsewhere, ben, 'three').waitFor();
  assert.deepEqual(await texts(elsewhere, ben), before);
  await leave(ada, ben, elsewhere);
});

test('unread messages are counted in the list and in the title until they are seen', async () => {
  const [ada, ben] = await together();
  for (const text of ['one', 'two', 'three']) await say(ada, ben, text);
  await message(ada, ben, 'three', 'stored').waitFor();
  const entry = ben.page.getByRole('list', { name: 'Conversations' }).getByRole('link', { name: /3 unread/ });
  await entry.waitFor();
  await ben.page.waitForFunction(() => document.title.startsWith('(3)'));
  assert.equal(await iconOf(ben), '/icon-unread.svg');
  await entry.click();
  await message(ben, ada, 'three').waitFor();
  await message(ada, ben, 'three', 'read').waitFor();
  await ben.page.waitForFunction(() => !document.title.startsWith('('));
  assert.equal(await iconOf(ben), '/icon.svg');
  await leave(ada, ben);
});

function iconOf({ page }) {
  return page.locator('link[rel=icon]').getAttribute('href');
}

test('a changed name reaches the other browser without a reload', async () => {
  const [ada, ben] = await together();
  await say(ada, ben, 'Who am I?');
  await openThread(ben, ada);
  await message(ben, ada, 'Who am I?').waitFor();
  const elsewhere = await signIn(browser, ben);
  await elsewhere.page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'People' }).click();
  await elsewhere.page.getByRole('searchbox', { name: 'Search people' }).fill(ada.username);
  const people = elsewhere.page.getByRole('list', { name: 'People' });
  await people.getByRole('button', { name: new RegExp(`^${ada.username}\\b`) }).waitFor();
  const name = `Augusta ${ada.username}`;
  await ada.page.getByRole('button', { name: 'Account' }).click();
  const account = ada.page.getByRole('dialog', { name: 'Your account' });
  await account.getByLabel('Display name').fill(name);
  await account.getByRole('button', { name: 'Save' }).click();
  await account.getByText('Saved.').waitFor();
  const { page } = ben;
  await page.getByRole('heading', { name, level: 2 }).waitFor();
  await page.getByRole('list', { name: 'Conversations' }).getByRole('link', { name: new RegExp(`^${name}`) }).waitFor();
  await page.getByRole('log', { name: `Messages with ${name}` }).getByText(`${name}:`).waitFor();
  await people.getByRole('button', { name: new RegExp(`^${name}`) }).waitFor();
  // And it is one's own name after a reload.
  await ada.page.reload();
  await ada.page.getByRole('button', { name: 'Account' }).click();
  await ada.page.waitForFunction(
    (wanted) => document.querySelector('[name=display_name]')?.value === wanted,
    name,
  );
  await leave(ada, ben, elsewhere);
});

test('a changed password keeps this browser signed in and ends every other session', async () => {
  const [ada, ben] = await together({ expected: /status of 400/ });
  const [tab, elsewhere] = [await ada.context.newPage(), await signIn(browser, ada)];
  await tab.goto('/');
  await tab.getByRole('heading', { name: 'Chats' }).waitFor();
  await ada.page.getByRole('button', { name: 'Account' }).click();
  await ada.page.getByRole('button', { name: 'Change password' }).click();
  const dialog = ada.page.getByRole('dialog', { name: 'Change password' });
  const next = `another ${ada.password}`;
  await dialog.getByLabel('Current password', { exact: true }).fill('a wrong guess of mine');
  await dialog.getByLabel('New password', { exact: true }).fill(next);
  await dialog.getByRole('button', { name: 'Change password' }).click();
  await dialog.getByRole('alert').getByText('Check the marked field.').waitFor();
  await dialog.getByLabel('Current password', { exact: true }).fill(ada.password);
  await dialog.getByRole('button', { name: 'Change password' }).click();
  await ada.page.getByRole('dialog', { name: 'Password changed' }).getByRole('button', { name: 'Done' }).click();
  await elsewhere.page.getByRole('heading', { name: 'Welcome back' }).waitFor();
  // Both tabs are told that their old session ended, and go on with the new one.
  await say(ada, ben, 'still here');
  await message(ada, ben, 'still here', 'stored').waitFor();
  const second = { page: tab };
  await openThread(second, ben);
  await say(second, ben, 'the other tab as well');
  await message(ada, ben, 'the other tab as well', 'stored').waitFor();
  const again = await signIn(browser, { ...ada, password: next });
  await leave(ada, ben, again);
  await elsewhere.context.close();
});

test('a text of white space alone is not sent', async () => {
  const [ada, ben] = await together();
  await composer(ada, ben).fill(' \n\t\u3000 ');
  await composer(ada, ben).press('Enter');
  assert.ok(await ada.page.getByRole('button', { name: 'Send message' }).isDisabled());
  await say(ada, ben, 'something');
  await message(ada, ben, 'something', 'stored', 'read').waitFor();
  assert.deepEqual(await texts(ada, ben), ['something']);
  await leave(ada, ben);
});

test('script text is shown as text', async () => {
  const [ada, ben] = await together();
  const text = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
  await say(ada, ben, text);
  await openThread(ben, ada);
  await message(ben, ada, text).waitFor();
  assert.equal(await ben.page.locator('[role=log] img, [role=log] script').count(), 0);
  await leave(ada, ben);
});

/** What was said, in the order in which it is shown; times and marks left out. */
async function texts(person, other) {
  return textsOf(await shown(person, other));
}

function textsOf(rows) {
  const seqs = rows.map(([seq]) => seq);
  assert.deepEqual(seqs, seqs.toSorted((a, b) => a - b));
  return rows.map(([, text]) => text);
}
