// What people do on the pages.

import { randomUUID } from 'node:crypto';
import { open } from './browser.mjs';

/** Signs up on the page; the person, with the page in which they are signed in. */
export async function signUp(browser, name, look) {
  const person = { ...(await open(browser, look)), ...account(name) };
  const { page } = person;
  await page.goto('/sign-up');
  await page.getByLabel('Username', { exact: true }).fill(person.username);
  await page.getByLabel('E-mail', { exact: true }).fill(person.email);
  await page.getByLabel('Password', { exact: true }).fill(person.password);
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.getByRole('heading', { name: 'Chats' }).waitFor();
  return person;
}

export async function signIn(browser, { username, email, password }, look) {
  const person = { ...(await open(browser, look)), username, email, password };
  await enter(person);
  return person;
}

/** Signs in on the page that is open. */
export async function enter(person) {
  const { page } = person;
  await page.goto('/sign-in');
  await page.getByLabel('E-mail', { exact: true }).fill(person.email);
  await page.getByLabel('Password', { exact: true }).fill(person.password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByRole('heading', { name: 'Chats' }).waitFor();
}

function account(name) {
  const unique = randomUUID().replaceAll('-', '');
  const username = `${name}_${unique.slice(0, 12)}`;
  return { username, email: `${username}@example.org`, password: `correct horse ${unique}` };
}

/** Finds somebody by the search on the page of people and opens the thread. */
export async function find({ page }, other) {
  const found = page
    .getByRole('list', { name: 'People' })
    .getByRole('button', { name: new RegExp(`^${other.username}\\b`) });
  // A new account reaches the directory a moment after its sign-up.
  for (let tries = 1; ; tries += 1) {
    await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'People' }).click();
    await page.getByRole('searchbox', { name: 'Search people' }).fill(other.username);
    try {
      await found.waitFor({ timeout: 5_000 });
      break;
    } catch (error) {
      if (tries === 6) throw error;
      await page.reload();
    }
  }
  await found.click();
  await thread({ page }, other).waitFor();
}

/** Opens the thread from the list of conversations. */
export async function openThread({ page }, other) {
  await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Chats' }).click();
  await page
    .getByRole('list', { name: 'Conversations' })
    .getByRole('link', { name: new RegExp(`^${other.username}\\b`) })
    .click();
  await thread({ page }, other).waitFor();
}

export function thread({ page }, other) {
  return page.getByRole('log', { name: `Messages with ${other.username}` });
}

export function composer({ page }, other) {
  return page.getByRole('textbox', { name: `Message to ${other.username}` });
}

export async function say(person, other, text) {
  await composer(person, other).fill(text);
  await composer(person, other).press('Enter');
}

/** The row with that text, in one of the states if any are given. */
export function message(person, other, text, ...states) {
  const row = states.length
    ? states.map((state) => `[data-testid="message"][data-state="${state}"]`).join(', ')
    : '[data-testid="message"]';
  return thread(person, other).locator(row).filter({ hasText: text });
}

/** The numbers and texts on the screen, from top to bottom. */
export function shown(person, other) {
  return thread(person, other).evaluate((log) =>
    [...log.querySelectorAll('[data-testid="message"][data-seq]')].map((row) => [
      Number(row.dataset.seq),
      row.querySelector('p').innerText,
    ]),
  );
}
