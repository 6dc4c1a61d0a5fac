import { expect, test } from "vitest";

import type { MessagePage, MessageView } from "../api/types";
import { logged } from "./log";
import { failed, fetching, filled, opened, threads, type Asked } from "./threads";

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
  expect(seqs(run(entry(11), filled({ id: ID, asked: { way: "open" }, page: page(8, 10, 10) })))).toEqual([8, 9, 10, 11]);
});

test("a message that is in the page and in an event is there once", () => {
  expect(seqs(run(entry(10), filled({ id: ID, asked: { way: "open" }, page: page(8, 10, 10) }), entry(10)))).toEqual([8, 9, 10]);
});

test("away from the end, new messages do not leave a hole", () => {
  const away = [filled({ id: ID, asked: { way: "open" }, page: page(5, 8, 20) }), entry(21)];
  expect(seqs(run(...away))).toEqual([5, 6, 7, 8]);
  const back = filled({ id: ID, asked: { way: "after", edge: 8 }, page: page(9, 20, 20) });
  expect(seqs(run(...away, back))?.at(-1)).toBe(21);
  expect(run(...away, back)?.hasAfter).toBe(false);
});

test("history is put before what is here, and the list knows on which side it grew", () => {
  const thread = run(
    filled({ id: ID, asked: { way: "open" }, page: page(8, 10, 10) }),
    filled({ id: ID, asked: { way: "before", edge: 8 }, page: page(4, 7, 10) }),
  );
  expect(seqs(thread)).toEqual([4, 5, 6, 7, 8, 9, 10]);
  expect(thread?.grew).toBe("start");
});

test("more messages than are kept aside are fetched, not skipped", () => {
  const many = Array.from({ length: 250 }, (_, index) => entry(21 + index));
  const thread = run(filled({ id: ID, asked: { way: "open" }, page: page(5, 8, 20) }), ...many, filled({ id: ID, asked: { way: "after", edge: 8 }, page: page(9, 20, 20) }));
  expect(thread?.hasAfter).toBe(true);
  expect(seqs(thread)?.at(-1)).toBe(20);
});

const OPEN: Asked = { way: "open" };
const BEFORE: Asked = { way: "before", edge: 8 };

test("a page that comes after the log was opened at another place leaves no hole", () => {
  const thread = run(
    filled({ id: ID, asked: OPEN, page: page(8, 10, 40) }),
    fetching({ id: ID, way: "before" }),
    opened({ id: ID, unreadAfter: null, keep: false }),
    filled({ id: ID, asked: OPEN, page: page(38, 40, 40) }),
    filled({ id: ID, asked: BEFORE, page: page(4, 7, 40) }),
  );
  expect(seqs(thread)).toEqual([38, 39, 40]);
});

test("a late failure does not close a log that is being opened", () => {
  const thread = run(failed({ id: ID, asked: BEFORE }));
  expect(thread?.status).toBe("loading");
});

test("each try for a page that does not come is counted until it comes", () => {
  const open = filled({ id: ID, asked: OPEN, page: page(8, 10, 10) });
  const stuck = [open, failed({ id: ID, asked: BEFORE }), failed({ id: ID, asked: BEFORE })];
  expect(run(...stuck)?.stalled).toEqual({ way: "before", tries: 2 });
  expect(run(...stuck)?.fetching).toBeNull();
  const thread = run(...stuck, filled({ id: ID, asked: BEFORE, page: page(4, 7, 10) }));
  expect(thread?.stalled).toBeNull();
  expect(seqs(thread)?.[0]).toBe(4);
});
