// What the three people of tests/examples/recorded.rs do; browser_recorded.mjs runs it.

import { launch, noFaults, open } from './browser.mjs';
import { composer, enter, message, openThread, say } from './people.mjs';
import { record } from './recorder.mjs';

const cast = JSON.parse(process.env.CHAT_CAST);
/** So high that every row of a short talk is on the screen. */
const look = { height: 4_000 };

const browser = await launch();
const [ada, ben, cleo] = await Promise.all(cast.people.map((account) => recorded(account)));
await openThread(ada, ben);
await openThread(ben, ada);
await openThread(cleo, ada);

// In turn, and at once.
await say(ada, ben, 'Hello, have you seen https://example.org/?');
await message(ben, ada, 'Hello', 'received').waitFor();
await composer(ben, ada).pressSequentially('Yes');
await ada.page.getByRole('status', { name: 'Typing' }).getByText('is typing').waitFor();
await composer(ben, ada).press('Enter');
await message(ada, ben, 'Yes', 'received').waitFor();
for (let number = 1; number <= 5; number += 1) {
  await Promise.all([say(ada, ben, `ada ${number}.`), say(ben, ada, `ben ${number}.`)]);
}
await both('ada 5.', 'ben 5.');

// One of them loses the network, and both go on.
await ben.context.setOffline(true);
await ben.page.getByRole('status', { name: 'Connection' }).waitFor();
await say(ben, ada, 'written offline');
await message(ben, ada, 'written offline', 'sending').waitFor();
await say(ada, ben, 'said meanwhile');
await message(ada, ben, 'said meanwhile', 'stored').waitFor();
await ben.context.setOffline(false);
await both('said meanwhile', 'written offline');

// The other one begins anew, with something unsent.
await ada.context.setOffline(true);
await ada.page.getByRole('status', { name: 'Connection' }).waitFor();
await say(ada, ben, 'before the reload');
await message(ada, ben, 'before the reload', 'sending').waitFor();
await say(ben, ada, 'during the reload');
await message(ben, ada, 'during the reload', 'stored').waitFor();
await ada.context.setOffline(false);
await ada.page.reload();
await both('before the reload', 'during the reload');
await marked(ada, ben);

// Ada looks at the list alone, while two people write.
await ada.page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Chats' }).click();
for (const text of ['one', 'two', 'three']) await say(ben, ada, text);
for (const text of ['four', 'five']) await say(cleo, ada, text);
await message(ben, ada, 'three', 'stored').waitFor();
await message(cleo, ada, 'five', 'stored').waitFor();
await settled(ada);
await atTheEnd(ben);
ada.recorder.shownUnread();
ben.recorder.shownUnread();
ben.recorder.shownPosition();

await cleo.recorder.signsOut(async () => {
  const answered = cleo.page.waitForResponse((answer) => answer.url().endsWith('/api/auth/signout'));
  await cleo.page.getByRole('button', { name: 'Account' }).click();
  await cleo.page.getByRole('button', { name: 'Sign out' }).click();
  await answered;
});
await cleo.page.getByRole('heading', { name: 'Welcome back' }).waitFor();

noFaults(ada, ben, cleo);
for (const { recorder, context } of [ada, ben, cleo]) {
  recorder.stop();
  await context.close();
}
await browser.close();

async function recorded(account) {
  const person = { ...(await open(browser, look)), ...account };
  await record(person);
  await enter(person);
  return person;
}

/** What ada and ben said last is stored, and shown by both. */
async function both(ofAda, ofBen) {
  const patient = { timeout: 30_000 };
  await message(ada, ben, ofAda, 'stored', 'read').waitFor(patient);
  await message(ben, ada, ofBen, 'stored', 'read').waitFor(patient);
  await message(ben, ada, ofAda, 'received').waitFor(patient);
  await message(ada, ben, ofBen, 'received').waitFor(patient);
}

/** Both marks stand where they can. */
async function marked(...pair) {
  for (const { page } of pair) {
    await page.waitForFunction(() => {
      const section = document.querySelector('section[data-conversation]');
      const seqs = (kind) => [...section.querySelectorAll(kind)].map(({ dataset }) => Number(dataset.seq));
      const theirs = seqs('[data-state="received"]');
      const mine = seqs('[data-state="stored"]');
      return Number(section.dataset.readUpTo) >= Math.max(0, ...theirs) && mine.length === 0;
    });
  }
}

/** The list is where the logs are. */
async function settled({ page, context, recorder }) {
  const answer = await context.request.get('/api/conversations');
  const { conversations } = await answer.json();
  await page.waitForFunction(
    (tops) => tops.every(({ id, seq }) => Number(document.querySelector(`a[data-conversation="${id}"]`)?.dataset.seq) === seq),
    conversations,
  );
  await until(() => recorder.life.seen.list.every(({ conversation, seq }) => conversations.find(({ id }) => id === conversation).seq === seq));
}

/** Everything that the open thread knows was told. */
async function atTheEnd({ recorder }) {
  await until(() => {
    const { thread } = recorder.life.seen;
    return recorder.shownUpTo(thread.conversation) === thread.seq;
  });
}

async function until(isSo) {
  const deadline = Date.now() + 15_000;
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error(`in vain: ${isSo}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
