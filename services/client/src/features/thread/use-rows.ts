import { useMemo } from "react";

import type { Conversation } from "../../api/types";
import { useAppSelector, useMe } from "../../chat/state";
import type { Thread } from "../../chat/threads";
import { entrySelectors } from "../../outbox/outbox";
import { rowsOf, type Row } from "./rows";
import { useToday } from "./use-today";

export function useRows(conversation: Conversation, thread: Thread | undefined): Row[] {
  const me = useMe();
  const now = useToday();
  const outbox = useAppSelector((state) => state.outbox);
  const { id, peer_read_up_to: peerReadUpTo } = conversation;
  // What is on its way belongs to the end of the log; elsewhere it would be out of place.
  const atEnd = thread !== undefined && !thread.hasAfter;
  const entries = useMemo(
    () => (atEnd ? entrySelectors.selectAll(outbox).filter((entry) => entry.conversation_id === id) : []),
    [outbox, id, atEnd],
  );
  const messages = thread?.messages;
  const unreadAfter = thread?.unreadAfter ?? null;
  return useMemo(
    () => rowsOf({ messages: messages ?? [], entries, me, peerReadUpTo, unreadAfter, now }),
    [messages, entries, me, peerReadUpTo, unreadAfter, now],
  );
}
