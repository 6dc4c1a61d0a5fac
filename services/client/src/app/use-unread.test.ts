import { expect, test } from "vitest";

import type { Conversation } from "../api/types";
import { conversations, pageFetched } from "../chat/conversations";
import { counted, notices } from "../chat/notices";
import { unreadIn } from "./use-unread";

const conversation = (id: string, unread: number): Conversation => ({
  id,
  members: [],
  created_at: "2026-01-01T00:00:00Z",
  last_message: null,
  last_activity_at: "2026-01-01T00:00:00Z",
  unread,
  read_up_to: 0,
  peer_read_up_to: 0,
  seq: unread,
});
const unread = (nextCursor: string | null) =>
  unreadIn({
    conversations: conversations.reducer(
      undefined,
      pageFetched({ page: [conversation("a", 2), conversation("b", 1)], nextCursor, first: true, held: [] }),
    ),
    notices: notices.reducer(undefined, counted(7)),
  });

test("conversations that are not loaded count as well", () => {
  expect(unread("more")).toBe(7);
});

test("with every conversation here, their own counts are the truth", () => {
  expect(unread(null)).toBe(3);
});
