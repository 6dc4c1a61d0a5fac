// Writes docs/screenshots, from a chat that runs: see README.md.

import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { launch } from './browser.mjs';
import { composer, find, message, openThread, say, signUp, thread } from './people.mjs';

const folder = fileURLToPath(new URL('../../docs/screenshots/', import.meta.url));
const looks = {
  'desktop-light': { width: 1280, height: 800, theme: 'light', deviceScaleFactor: 1.5 },
  'desktop-dark': { width: 1280, height: 800, theme: 'dark', deviceScaleFactor: 1.5 },
  'phone-light': { width: 390, height: 844, theme: 'light', deviceScaleFactor: 2 },
  'phone-dark': { width: 390, height: 844, theme: 'dark', deviceScaleFactor: 2 },
};
const talk = [
  ['ada', 'Morning! The new queue has been in production since 7.'],
  ['ada', 'No message lost, and the slowest took 40 ms.'],
  ['ben', 'That is better than the old one on a good day.'],
  ['ben', 'How does it behave when a broker goes away?'],
  ['ada', 'Sends wait in the browser and go out again when it is back. I pulled the plug twice: same order, nothing twice.'],
  ['ben', 'Then let us tell the others. Notes are at https://example.org/notes'],
];

await mkdir(folder, { recursive: true });
const browser = await launch();
const ada = await signUp(browser, 'ada', looks['desktop-light']);
const ben = await signUp(browser, 'ben', looks['phone-light']);
const others = ['cleo', 'dmitri', 'erin'];
const names = { ada: 'Ada Lovelace', ben: 'Ben Okafor', cleo: 'Cléo Martin', dmitri: 'Dmitri Sokolov', erin: 'Erin Walsh' };
for (const name of others) {
  const other = await signUp(browser, name, looks['desktop-light']);
  await rename(other, names[name]);
  await find(other, ada);
  await say(other, ada, { cleo: 'Lunch at one?', dmitri: 'The build is green again.', erin: 'Thank you, that was it!' }[name]);
  await message(other, ada, '', 'stored', 'read').waitFor();
  if (name === 'erin') await other.context.close();
}
await find(ada, ben);
await openThread(ben, ada);
const side = { ada: [ada, ben], ben: [ben, ada] };
for (const [who, text] of talk) {
  await say(...side[who], text);
  await message(...side[who], text, 'stored', 'read').waitFor();
}
await rename(ada, names.ada);
await ben.page.reload();
await rename(ben, names.ben, true);
await ada.page.reload();
const [toBen, toAda] = [{ username: names.ben }, { username: names.ada }];
await thread(ada, toBen).waitFor();
await thread(ben, toAda).waitFor();
await composer(ben, toAda).focus();
await composer(ben, toAda).pressSequentially('I will write');
await ada.page.getByRole('status', { name: 'Typing' }).getByText('is typing').waitFor();
for (const [name, { width, height, theme }] of Object.entries(looks)) {
  const { page } = name.startsWith('desktop') ? ada : ben;
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme: theme });
  await page.screenshot({ path: `${folder}${name}.png` });
}
await browser.close();

async function rename({ page }, name, phone = false) {
  if (phone) await page.getByRole('link', { name: 'Back to chats' }).click();
  await page.getByRole('button', { name: 'Account' }).click();
  const account = page.getByRole('dialog', { name: 'Your account' });
  await account.getByLabel('Display name').fill(name);
  await account.getByRole('button', { name: 'Save' }).click();
  await account.getByText('Saved.').waitFor();
  await page.keyboard.press('Escape');
  if (phone) await page.goBack();
}
