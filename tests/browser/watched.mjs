// Looks at a page whenever it changes: what it shows of the client's state.

/** Calls `begins` for each new document and `changes` with what is shown. */
export async function watchPage(page, begins, changes) {
  await page.exposeFunction('recorderBegins', begins);
  await page.exposeFunction('recorderSees', (text) => changes(JSON.parse(text)));
  await page.addInitScript(look);
}

/** Runs in the page. The rules of the page for scripts are not those of the test's. */
function look() {
  globalThis.recorderBegins();
  const number = (text) => (text === undefined ? null : Number(text));
  const row = (element) => ({
    seq: number(element.dataset.seq),
    id: element.dataset.id ?? null,
    clientId: element.dataset.clientId,
    mine: element.dataset.state !== 'received',
    text: element.querySelector('p').textContent,
  });
  const thread = (section) => ({
    conversation: section.dataset.conversation,
    seq: number(section.dataset.seq),
    readUpTo: number(section.dataset.readUpTo),
    peerReadUpTo: number(section.dataset.peerReadUpTo),
    typing: section.querySelector('[aria-label="Typing"]').textContent !== '',
    rows: [...section.querySelectorAll('[data-testid="message"]')].map(row),
  });
  const link = (element) => ({
    conversation: element.dataset.conversation,
    seq: number(element.dataset.seq),
    unread: [...element.querySelectorAll('.sr-only')].reduce((sum, { textContent }) => sum + (Number.parseInt(textContent, 10) || 0), 0),
  });
  let last = '';
  const tell = () => {
    const section = document.querySelector('section[data-conversation]');
    const state = JSON.stringify({
      title: document.title,
      list: [...document.querySelectorAll('a[data-conversation]')].map(link),
      thread: section ? thread(section) : null,
    });
    if (state === last) return;
    last = state;
    globalThis.recorderSees(state);
  };
  new MutationObserver(tell).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
}
