import { useEffect } from "react";
import { Link } from "react-router";

import type { NoticeView } from "../../api/types";
import { dismissed } from "../../chat/notices";
import { useAppDispatch, useAppSelector } from "../../chat/state";
import { Icon } from "../../ui/icon";
import { useSender } from "./use-sender";

const SHOWN = 8_000;

/** Messages of other conversations, for a moment. */
export function Toasts() {
  const toasts = useAppSelector((state) => state.notices.toasts);
  return (
    <section aria-label="New messages" aria-live="polite" className="pointer-events-none fixed inset-x-3 top-3 z-20 flex flex-col items-end gap-2 sm:left-auto sm:w-80">
      {toasts.map((notice) => (
        <Toast key={notice.id} notice={notice} />
      ))}
    </section>
  );
}

function Toast({ notice }: { notice: NoticeView }) {
  const dispatch = useAppDispatch();
  const sender = useSender(notice);
  useEffect(() => {
    const timer = setTimeout(() => dispatch(dismissed(notice.id)), SHOWN);
    return () => clearTimeout(timer);
  }, [dispatch, notice.id]);
  return (
    <div className="rise pointer-events-auto flex w-full items-center rounded-2xl border border-line bg-raised shadow-lg">
      <Link to={`/c/${encodeURIComponent(notice.conversation_id)}`} className="min-w-0 flex-1 rounded-2xl py-3 pl-4">
        <span className="block truncate text-sm font-semibold">
          <span className="sr-only">Open conversation with </span>
          {sender}
        </span>
        <span className="block truncate text-sm text-muted">{notice.preview}</span>
      </Link>
      <button type="button" className="icon-button mr-1" aria-label="Dismiss" onClick={() => dispatch(dismissed(notice.id))}>
        <Icon name="close" className="size-[1.125rem]" />
      </button>
    </div>
  );
}
