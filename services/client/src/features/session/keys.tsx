import { Icon } from "../../ui/icon";

const KEYS: [string[], string][] = [
  [["Enter"], "Send the message"],
  [["Shift", "Enter"], "Begin a new line"],
  [["F6"], "Go to the next part of the screen"],
  [["Shift", "F6"], "Go to the part before"],
  [["Esc"], "Close a dialog"],
];

/** What the keyboard does, for those who ask. */
export function Keys() {
  return (
    <details className="group mt-6 text-sm">
      <summary className="flex min-h-8 items-center gap-1.5 rounded-lg font-medium marker:content-none">
        <Icon name="right" className="size-4 text-muted transition-transform group-open:rotate-90" />
        Keyboard
      </summary>
      <dl className="mt-2 space-y-2 text-muted">
        {KEYS.map(([keys, what]) => (
          <div key={what} className="flex items-center justify-between gap-4">
            <dt>{what}</dt>
            <dd className="flex shrink-0 gap-1">
              {keys.map((key) => (
                <kbd key={key} className="rounded-md border border-line bg-raised px-1.5 py-0.5 font-sans text-xs text-ink">
                  {key}
                </kbd>
              ))}
            </dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
