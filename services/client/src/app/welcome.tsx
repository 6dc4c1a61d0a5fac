import { Icon } from "../ui/icon";

/** Beside the list, while no conversation is open. */
export function Welcome() {
  return (
    <div className="grid h-full place-items-center p-8">
      <div className="max-w-xs text-center">
        <span className="mx-auto mb-5 grid size-16 place-items-center rounded-full bg-chosen text-accent">
          <Icon name="chats" className="size-7" />
        </span>
        <p className="text-lg font-semibold tracking-tight">Pick up a conversation</p>
        <p className="mt-1 text-sm text-balance text-muted">Choose one on the left, or find somebody under People.</p>
      </div>
    </div>
  );
}
