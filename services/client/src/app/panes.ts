/** The parts of the screen, in order; a phone shows some of them. */
const PANES = "[data-pane]";
/** Where one goes on in a part: what is chosen, what is written. */
const BEST = '[aria-current="page"], textarea:enabled, input:enabled';
const ANY = "a[href], button:enabled";

/** Which of `count` parts comes next; `here` is -1 outside of all. */
export function nextPane(here: number, count: number, back: boolean): number {
  if (here < 0) return back ? count - 1 : 0;
  return (here + (back ? count - 1 : 1)) % count;
}

/** F6 goes to the next part of the screen, Shift+F6 to the one before. */
export function onPaneKey(event: KeyboardEvent) {
  if (event.key !== "F6" || event.altKey || event.ctrlKey || event.metaKey) return;
  // A dialog keeps the focus.
  if (document.querySelector("dialog[open]")) return;
  event.preventDefault();
  const panes = [...document.querySelectorAll<HTMLElement>(PANES)].filter((pane) => pane.checkVisibility());
  const here = panes.findIndex((pane) => pane.contains(document.activeElement));
  const pane = panes[nextPane(here, panes.length, event.shiftKey)];
  if (pane) enter(pane);
}

export function enter(pane: HTMLElement) {
  const shown = (selector: string) =>
    [...pane.querySelectorAll<HTMLElement>(selector)].find((element) => element.checkVisibility());
  (shown(BEST) ?? shown(ANY) ?? pane).focus();
}
