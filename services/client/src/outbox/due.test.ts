import { expect, test } from "vitest";

import { accepted, ANSWER_WAIT, due, nothingUnderWay, postponed } from "./due";
import type { Entry } from "./entry";

const entry = (client_id: string, conversation_id: string, written_at: number, state: Entry["state"] = "waiting"): Entry => ({
  client_id,
  conversation_id,
  content: client_id,
  written_at,
  state,
});
const ids = (frames: ReturnType<typeof due>[0]) => frames.map((frame) => ("client_id" in frame ? frame.client_id : ""));

test("one message of each conversation leaves at a time, the oldest first", () => {
  const entries = [entry("b2", "b", 4), entry("a2", "a", 3), entry("a1", "a", 1), entry("b1", "b", 2)];
  expect(ids(due(entries, nothingUnderWay, 0)[0])).toEqual(["a1", "b1"]);
});

test("the next one leaves when the one before is accepted", () => {
  const entries = [entry("a1", "a", 1), entry("a2", "a", 2)];
  const [, underWay] = due(entries, nothingUnderWay, 0);
  expect(ids(due(entries, underWay, 5)[0])).toEqual([]);
  expect(ids(due(entries, accepted(underWay, "a1", 5), 5)[0])).toEqual(["a2"]);
});

test("what was not answered is said again with the same id, and still holds the next one back", () => {
  const entries = [entry("a1", "a", 1), entry("a2", "a", 2)];
  const [, underWay] = due(entries, nothingUnderWay, 0);
  expect(ids(due(entries, underWay, ANSWER_WAIT)[0])).toEqual(["a1"]);
});

test("an error that is not final postpones the message and those behind it", () => {
  const entries = [entry("a1", "a", 1), entry("a2", "a", 2), entry("b1", "b", 3)];
  const underWay = postponed(nothingUnderWay, "a1", 1_000);
  expect(ids(due(entries, underWay, 0)[0])).toEqual(["b1"]);
  expect(ids(due(entries, underWay, 1_000)[0])).toEqual(["a1", "b1"]);
});

test("a refused message stays and holds nothing back", () => {
  const entries = [entry("a1", "a", 1, "refused"), entry("a2", "a", 2)];
  expect(ids(due(entries, nothingUnderWay, 0)[0])).toEqual(["a2"]);
});

test("on a new connection everything that is not stored is said again, in order", () => {
  const entries = [entry("a1", "a", 1, "accepted"), entry("a2", "a", 2)];
  const [first, underWay] = due(entries, nothingUnderWay, 0);
  expect(ids(first)).toEqual(["a1"]);
  expect(ids(due(entries, accepted(underWay, "a1", 1), 1)[0])).toEqual(["a2"]);
});
