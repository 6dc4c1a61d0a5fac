import type { Code } from "../../api/types";
import type { Row } from "./rows";

const REASONS: Partial<Record<Code, string>> = {
  not_found: "You are not in this conversation any more.",
  forbidden: "You may not write here.",
  too_large: "The message is too long.",
  invalid: "The message holds something that cannot be sent.",
  conflict: "It was sent before with another text.",
  throttled: "Too many messages at once.",
};

interface Props {
  row: Row;
  onRetry(key: string): void;
  onDiscard(key: string): void;
}

export function Refused({ row, onRetry, onDiscard }: Props) {
  const reason = row.refusal && (REASONS[row.refusal.code] ?? row.refusal.detail);
  return (
    <div className="mt-1 flex flex-wrap items-center justify-end gap-x-1 text-[0.8125rem]">
      <span className="text-signal">Not sent. {reason}</span>
      <button type="button" className="min-h-8 rounded-lg px-2 font-semibold text-accent hover:bg-hover" onClick={() => onRetry(row.key)}>
        Try again
      </button>
      <button type="button" className="min-h-8 rounded-lg px-2 font-semibold text-muted hover:bg-hover" onClick={() => onDiscard(row.key)}>
        Discard
      </button>
    </div>
  );
}
