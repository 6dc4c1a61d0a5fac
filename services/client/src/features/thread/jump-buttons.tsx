import { Icon } from "../../ui/icon";

interface Props {
  toEnd: (() => void) | null;
  newOnes: number;
  toFirstUnread: (() => void) | null;
}

export function JumpButtons({ toEnd, newOnes, toFirstUnread }: Props) {
  return (
    <>
      {toFirstUnread && (
        <button type="button" className="rise absolute top-3 left-1/2 inline-flex min-h-9 -translate-x-1/2 items-center gap-1.5 rounded-full border border-line bg-raised px-4 text-sm font-medium whitespace-nowrap text-signal shadow-md hover:bg-hover" onClick={toFirstUnread}>
          <Icon name="up" className="size-4" />
          Jump to first unread
        </button>
      )}
      {toEnd && (
        <button type="button" className={`rise absolute right-4 bottom-3 inline-flex min-h-10 items-center gap-1.5 rounded-full px-3 text-sm font-semibold shadow-md ${newOnes > 0 ? "bg-accent text-on-accent hover:bg-accent-hover" : "border border-line bg-raised text-muted hover:bg-hover"}`} onClick={toEnd}>
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
      )}
    </>
  );
}
