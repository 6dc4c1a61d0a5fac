import { memo } from "react";

import { Icon, type IconName } from "../../ui/icon";
import { timeOfDay } from "../../ui/time";
import { linked } from "./links";
import { Refused } from "./refused";
import type { MessageState, Row } from "./rows";

interface Props {
  row: Row;
  author: string;
  onRetry(key: string): void;
  onDiscard(key: string): void;
}

/** One message, with the day or the unread line before it. */
export const MessageRow = memo(function MessageRow({ row, author, onRetry, onDiscard }: Props) {
  return (
    <div className="mx-auto w-full max-w-4xl px-4 sm:px-6">
      {row.day && <Day>{row.day}</Day>}
      {row.firstUnread && <UnreadLine />}
      <div
        data-testid="message"
        data-state={row.state}
        data-seq={row.seq ?? undefined}
        data-id={row.id ?? undefined}
        data-client-id={row.clientId}
        data-first-unread={row.firstUnread || undefined}
        className={`flex flex-col ${row.mine ? "items-end" : "items-start"} ${row.first ? "pt-2.5" : "pt-0.5"}`}
      >
        <span className="sr-only">{row.mine ? "You" : author}: </span>
        <div className={`bubble relative max-w-[min(34rem,86%)] rounded-2xl px-3.5 py-2 text-[0.9375rem] leading-[1.45] ${tone(row)} ${corner(row)}`}>
          <p className={`wrap-anywhere whitespace-pre-wrap ${emojiOnly(row.content) ? "text-4xl leading-tight" : ""}`}>
            {linked(row.content)}
            {/* Room for the time at the end of the last line. */}
            <span className={`inline-block ${room(row)}`} aria-hidden="true" />
          </p>
          <p className={`absolute right-3 bottom-1.5 flex items-center gap-1 text-[0.6875rem] leading-4 tabular-nums ${row.mine && row.state !== "refused" ? "text-on-mine-muted" : "text-muted"}`}>
            <time dateTime={row.at.toISOString()}>{timeOfDay(row.at)}</time>
            {row.mine && <Mark state={row.state} />}
          </p>
        </div>
        {row.state === "refused" && <Refused row={row} onRetry={onRetry} onDiscard={onDiscard} />}
      </div>
    </div>
  );
});

const MARKS: Record<MessageState, { icon: IconName; words: string } | null> = {
  sending: { icon: "clock", words: "Sending" },
  sent: { icon: "check", words: "Sent" },
  stored: { icon: "checks", words: "Stored" },
  read: { icon: "checks", words: "Read" },
  refused: { icon: "alert", words: "Not sent" },
  received: null,
};

function Mark({ state }: { state: MessageState }) {
  const mark = MARKS[state];
  if (!mark) return null;
  return (
    <span title={mark.words} className={state === "read" ? "text-accent [&_path]:stroke-[2.6]" : state === "refused" ? "text-signal" : ""}>
      <Icon name={mark.icon} className="size-4" />
      <span className="sr-only">{mark.words}</span>
    </span>
  );
}

function Day({ children }: { children: string }) {
  return (
    <p className="flex justify-center pt-5 pb-2">
      <span className="rounded-full border border-line bg-panel px-3 py-1 text-xs font-medium text-muted">{children}</span>
    </p>
  );
}

function UnreadLine() {
  return (
    <div role="separator" aria-label="Unread messages" className="flex items-center gap-3 pt-4 pb-1 text-xs font-semibold text-signal">
      <span className="h-px flex-1 bg-signal opacity-50" />
      <span aria-hidden="true">Unread</span>
      <span className="h-px flex-1 bg-signal opacity-50" />
    </div>
  );
}

function tone(row: Row): string {
  if (row.state === "refused") return "border border-signal bg-raised text-ink";
  return row.mine ? "bg-mine text-on-mine" : "border border-line bg-raised text-ink";
}

function corner(row: Row): string {
  if (!row.last) return "";
  return row.mine ? "rounded-br-md" : "rounded-bl-md";
}

/** As wide as the time, which some places write with AM and PM, and the mark. */
function room(row: Row): string {
  const long = timeOfDay(row.at).length > 5;
  if (row.mine) return long ? "w-[5.25rem]" : "w-[4rem]";
  return long ? "w-[3.75rem]" : "w-[2.625rem]";
}

const EMOJI = /^(?:\p{Extended_Pictographic}(?:\uFE0F|\p{Emoji_Modifier}|\u200D\p{Extended_Pictographic})*){1,3}$/u;
const emojiOnly = (text: string): boolean => text.length < 40 && EMOJI.test(text.trim());
