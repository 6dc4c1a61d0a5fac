import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { Virtualizer, type VirtualizerHandle } from "virtua";

import type { Conversation } from "../../api/types";
import { useLive } from "../../chat/live";
import { loadMore, showFirstUnread, showLatest } from "../../chat/load";
import { useAppDispatch } from "../../chat/state";
import { settled, type Thread } from "../../chat/threads";
import { Announcer } from "./announcer";
import { JumpToEnd, JumpToFirstUnread } from "./jump-buttons";
import { MessageRow } from "./message-row";
import { PageStatus } from "./page-status";
import type { Row } from "./rows";
import { useLooking } from "./use-looking";

interface Props {
  conversation: Conversation;
  thread: Thread;
  rows: Row[];
  name: string;
}

/** Closer to an edge than this, and the next page is fetched. */
const NEAR = 800;
/** Within this of the end counts as at the end. */
const AT_END = 60;

export function MessageList({ conversation, thread, rows, name }: Props) {
  const { id } = conversation;
  const dispatch = useAppDispatch();
  const { mailbox, reader } = useLive();
  const looking = useLooking();
  const scroller = useRef<HTMLDivElement>(null);
  const list = useRef<VirtualizerHandle>(null);
  const atEndNow = useRef(true);
  const placed = useRef(false);
  const pulledTo = useRef<string>(undefined);
  const [atEnd, setAtEnd] = useState(true);
  /** The newest row when the end was left: what comes behind it is new. */
  const [leftAt, setLeftAt] = useState<number | null>(null);
  const [lineAbove, setLineAbove] = useState(false);

  const firstUnread = rows.findIndex((row) => row.firstUnread);
  const lastKey = rows.at(-1)?.key;
  const lastMine = rows.at(-1)?.mine === true && rows.at(-1)?.seq === null;
  const newestSeq = thread.messages.at(-1)?.seq ?? 0;

  const look = useCallback(() => {
    const handle = list.current;
    if (!handle || !placed.current) return;
    const { scrollOffset, scrollSize, viewportSize } = handle;
    const distance = scrollSize - scrollOffset - viewportSize;
    const end = distance <= AT_END && !thread.hasAfter;
    atEndNow.current = end;
    setAtEnd(end);
    setLeftAt((left) => (end ? null : (left ?? newestSeq)));
    if (scrollOffset < NEAR) void dispatch(loadMore(id, "before"));
    if (distance < NEAR) void dispatch(loadMore(id, "after"));
    const top = handle.findItemIndex(scrollOffset);
    const bottom = handle.findItemIndex(scrollOffset + viewportSize - 1);
    setLineAbove(firstUnread >= 0 && firstUnread < top);
    if (!looking) return;
    const newest = rows.slice(top, bottom + 1).findLast((row) => row.seq !== null && !row.mine);
    if (newest?.seq) reader.saw(id, newest.seq);
  }, [dispatch, firstUnread, id, looking, newestSeq, reader, rows, thread.hasAfter]);

  // The first sight: the unread line a little below the top, or the end.
  useLayoutEffect(() => {
    if (placed.current || rows.length === 0) return;
    if (firstUnread >= 0) list.current?.scrollToIndex(firstUnread, { align: "start", offset: -24 });
    else list.current?.scrollToIndex(rows.length - 1, { align: "end" });
    atEndNow.current = firstUnread < 0;
    placed.current = true;
  }, [firstUnread, rows.length]);

  // New rows at the end pull the view along, if it was there; own ones always,
  // but once: one that was refused stays the last while history is read.
  useLayoutEffect(() => {
    const isNew = lastKey !== pulledTo.current;
    pulledTo.current = lastKey;
    if (!placed.current || lastKey === undefined) return;
    if (atEndNow.current || (lastMine && isNew)) list.current?.scrollToIndex(rows.length - 1, { align: "end" });
  }, [lastKey, lastMine, rows.length]);

  // After a page was put before the others, the list must not keep its place from the end.
  useEffect(() => {
    if (thread.grew === "start") dispatch(settled(id));
  }, [dispatch, id, thread.grew, rows.length]);

  // Once the list is laid out, and whenever rows or the focus change.
  useEffect(() => {
    const frame = requestAnimationFrame(look);
    return () => cancelAnimationFrame(frame);
  }, [look]);

  const toEnd = () => {
    if (thread.hasAfter) void dispatch(showLatest(id));
    else list.current?.scrollToIndex(rows.length - 1, { align: "end" });
  };
  const toFirstUnread = () => {
    if (firstUnread >= 0) list.current?.scrollToIndex(firstUnread, { align: "start", offset: -24 });
    else void dispatch(showFirstUnread(id));
  };
  const onResize = useCallback(() => {
    if (atEndNow.current && placed.current) list.current?.scrollTo(Number.MAX_SAFE_INTEGER);
    // Which rows are in view is known only now; a short thread never scrolls.
    look();
  }, [look]);

  const retry = useCallback((key: string) => mailbox.retry(key), [mailbox]);
  const discard = useCallback((key: string) => mailbox.discard(key), [mailbox]);
  const newOnes = leftAt === null ? 0 : rows.filter((row) => !row.mine && (row.seq ?? 0) > leftAt).length;

  return (
    <div className="relative min-h-0 flex-1">
      <div ref={scroller} role="log" aria-live="off" aria-label={`Messages with ${name}`} tabIndex={0} className="h-full overflow-y-auto overscroll-contain [overflow-anchor:none] focus-visible:-outline-offset-2">
        <div className="flex min-h-full flex-col justify-end pb-3">
          <Virtualizer ref={list} scrollRef={scroller} data={rows} shift={thread.grew === "start"} onScroll={look} onResize={onResize}>
            {(row) => <MessageRow key={row.key} row={row} author={name} onRetry={retry} onDiscard={discard} />}
          </Virtualizer>
        </div>
      </div>
      <div className="pointer-events-none absolute inset-x-3 top-3 flex flex-col items-center gap-2">
        {(lineAbove || (thread.unreadAfter !== null && firstUnread < 0)) && <JumpToFirstUnread onJump={toFirstUnread} />}
        <PageStatus id={id} thread={thread} way="before" />
      </div>
      <div className="pointer-events-none absolute inset-x-3 bottom-3 flex flex-col items-center gap-2">
        <PageStatus id={id} thread={thread} way="after" />
        {!atEnd && <JumpToEnd newOnes={newOnes} onJump={toEnd} />}
      </div>
      <Announcer message={thread.heard} name={name} />
    </div>
  );
}
