import { expect, test } from "vitest";

import type { MessagePage, MessageView } from "../api/types";
import { logged } from "./log";
import { filled, opened, threads } from "./threads";

const ID = "c";
const message = (seq: number, sender_id = "peer"): MessageView => ({
  id: `m${seq}`,
  conversation_id: ID,
  seq,
  sender_id,
  client_id: `k${seq}`,
  content: `${seq}`,
  created_at: "2026-01-01T00:00:00Z",
});
const page = (from: number, to: number, top: number): MessagePage => ({
  messages: Array.from({ length: to - from + 1 }, (_, index) => message(from + index)),
  reads: [],
  seq: top,
  has_before: from > 1,
  has_after: to < top,
});
const entry = (seq: number) =>
  logged({ event: { type: "message.stored", conversation_id: ID, seq, message: message(seq) }, me: "me" });

const run = (...actions: Parameters<typeof threads.reducer>[1][]) =>
  actions.reduce(threads.reducer, threads.reducer(undefined, opened({ id: ID, unreadAfter: null, keep: false })))[ID];
const seqs = (thread: ReturnType<typeof run>) => thread?.messages.map(({ seq }) => seq);

test("a message that comes while the first page is fetched is not lost", () => {
  expect(seqs(run(entry(11), filled({ id: ID, way: "open", page: page(8, 10, 10) })))).toEqual([8, 9, 10, 11]);
});

test("a message that is in the page and in an event is there once", () => {
  expect(seqs(run(entry(10), filled({ id: ID, way: "open", page: page(8, 10, 10) }), entry(10)))).toEqual([8, 9, 10]);
});

test("away from the end, new messages do not leave a hole", () => {
  const away = [filled({ id: ID, way: "open", page: page(5, 8, 20) }), entry(21)];
  expect(seqs(run(...away))).toEqual([5, 6, 7, 8]);
  const back = filled({ id: ID, way: "after", page: page(9, 20, 20) });
  expect(seqs(run(...away, back))?.at(-1)).toBe(21);
  expect(run(...away, back)?.hasAfter).toBe(false);
});

test("history is put before what is here, and the list knows on which side it grew", () => {
  const thread = run(
    filled({ id: ID, way: "open", page: page(8, 10, 10) }),
    filled({ id: ID, way: "before", page: page(4, 7, 10) }),
  );
  expect(seqs(thread)).toEqual([4, 5, 6, 7, 8, 9, 10]);
  expect(thread?.grew).toBe("start");
});

test("more messages than are kept aside are fetched, not skipped", () => {
  const many = Array.from({ length: 250 }, (_, index) => entry(21 + index));
  const thread = run(filled({ id: ID, way: "open", page: page(5, 8, 20) }), ...many, filled({ id: ID, way: "after", page: page(9, 20, 20) }));
  expect(thread?.hasAfter).toBe(true);
  expect(seqs(thread)?.at(-1)).toBe(20);
});
