import { expect, test } from "vitest";

import type { MessageView } from "../../api/types";
import type { Entry } from "../../outbox/entry";
import { rowsOf, type RowsOf } from "./rows";

const now = new Date(2026, 5, 10, 18);
const message = (seq: number, sender_id: string, minute: number, day = 10): MessageView => ({
  id: `m${seq}`,
  conversation_id: "c",
  seq,
  sender_id,
  client_id: `k${seq}`,
  content: "text",
  created_at: new Date(2026, 5, day, 12, minute).toISOString(),
});
const waiting = (client_id: string, state: Entry["state"]): Entry => ({
  client_id,
  conversation_id: "c",
  content: "text",
  written_at: now.getTime(),
  state,
});
const rows = (given: Partial<RowsOf>) =>
  rowsOf({ messages: [], entries: [], me: "me", peerReadUpTo: 0, unreadAfter: null, now, ...given });

test("my messages are stored, then read up to the other's mark", () => {
  const states = rows({ messages: [message(1, "me", 0), message(2, "me", 1), message(3, "peer", 2)], peerReadUpTo: 1 });
  expect(states.map(({ state }) => state)).toEqual(["read", "stored", "received"]);
});

test("what is on its way stands behind the log and says how far it is", () => {
  const entries = [waiting("a", "waiting"), waiting("b", "accepted"), waiting("c", "refused")];
  expect(rows({ entries }).map(({ state }) => state)).toEqual(["sending", "sent", "refused"]);
});

test("a message that is in the log and still in the outbox is shown once, under the same key", () => {
  const shown = rows({ messages: [message(1, "me", 0)], entries: [waiting("k1", "accepted")] });
  expect(shown.map(({ key, state }) => [key, state])).toEqual([["k1", "stored"]]);
});

test("the unread line is before the first unread message of the other", () => {
  const messages = [message(1, "peer", 0), message(2, "me", 1), message(3, "peer", 2), message(4, "peer", 3)];
  expect(rows({ messages, unreadAfter: 1 }).map(({ firstUnread }) => firstUnread)).toEqual([false, false, true, false]);
});

test("each day is named once", () => {
  const messages = [message(1, "peer", 0, 9), message(2, "peer", 1, 9), message(3, "peer", 2, 10)];
  expect(rows({ messages }).map(({ day }) => day)).toEqual(["Yesterday", null, "Today"]);
});

test("neighbours of one author are a group until five minutes pass", () => {
  const messages = [message(1, "peer", 0), message(2, "peer", 1), message(3, "peer", 10), message(4, "me", 10)];
  expect(rows({ messages }).map(({ first, last }) => [first, last])).toEqual([
    [true, false],
    [false, true],
    [true, true],
    [true, true],
  ]);
});
