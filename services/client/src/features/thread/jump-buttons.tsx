import { Icon } from "../../ui/icon";

export function JumpToFirstUnread({ onJump }: { onJump(): void }) {
  return (
    <button type="button" className="rise pointer-events-auto inline-flex min-h-9 items-center gap-1.5 rounded-full border border-line bg-raised px-4 text-sm font-medium whitespace-nowrap text-signal shadow-md hover:bg-hover" onClick={onJump}>
      <Icon name="up" className="size-4" />
      Jump to first unread
    </button>
  );
}

export function JumpToEnd({ newOnes, onJump }: { newOnes: number; onJump(): void }) {
  const look = newOnes > 0 ? "bg-accent text-on-accent hover:bg-accent-hover" : "border border-line bg-raised text-muted hover:bg-hover";
  return (
    <button type="button" className={`rise pointer-events-auto inline-flex min-h-10 items-center gap-1.5 self-end rounded-full px-3 text-sm font-semibold shadow-md ${look}`} onClick={onJump}>
      <Icon name="down" className="size-[1.125rem]" />
      {newOnes > 0 ? (
        <>
          {newOnes} new {newOnes === 1 ? "message" : "messages"}
          <span className="sr-only">, jump to latest</span>
        </>
      ) : (
        <span className="sr-only">Jump to latest</span>
      )}
    </button>
  );
}
