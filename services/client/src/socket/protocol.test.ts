import { expect, test } from "vitest";

import type { LogEvent, ServerFrame } from "../api/types";
import { initialProtocol, receive, type Effect, type Protocol } from "./protocol";

const ID = "c1";

const message = (seq: number): LogEvent => ({
  type: "message.stored",
  conversation_id: ID,
  seq,
  message: {
    id: `m${seq}`,
    conversation_id: ID,
    seq,
    sender_id: "bob",
    client_id: `k${seq}`,
    content: `text ${seq}`,
    created_at: "2026-01-01T00:00:00Z",
  },
});

/** A client that applies what the protocol says. */
function client(start: number | undefined) {
  let protocol: Protocol = initialProtocol;
  let top = start;
  const applied: number[] = [];
  const other: Effect[] = [];
  return {
    applied,
    other,
    hears(frame: ServerFrame) {
      const [next, effects] = receive(protocol, () => top, frame);
      protocol = next;
      for (const effect of effects) {
        if (effect.do === "apply") {
          applied.push(effect.event.seq);
          top = effect.event.seq;
        } else if (effect.do !== "stored") other.push(effect);
      }
    },
  };
}

const resume = (after: number): Effect => ({
  do: "send",
  frame: { type: "resume", conversation_id: ID, after },
});
const hello = (seq: number, epoch = "e1"): ServerFrame => ({
  type: "hello",
  connection_id: "x",
  user_id: "me",
  expires_at: "2026-01-01T00:10:00Z",
  heartbeat_seconds: 25,
  epoch,
  positions: [{ conversation_id: ID, seq }],
});
const resumed = (events: LogEvent[], complete = true): ServerFrame => ({
  type: "resumed",
  conversation_id: ID,
  events,
  complete,
});

test("an entry is applied directly after the one before", () => {
  const one = client(4);
  one.hears(message(5));
  one.hears(message(6));
  expect(one.applied).toEqual([5, 6]);
  expect(one.other).toEqual([]);
});

test("an entry that came before changes nothing", () => {
  const one = client(4);
  one.hears(message(5));
  one.hears(message(5));
  one.hears(message(3));
  expect(one.applied).toEqual([5]);
});

test("a hole is asked for once, and nothing behind it is applied before", () => {
  const one = client(4);
  one.hears(message(6));
  one.hears(message(7));
  expect(one.applied).toEqual([]);
  expect(one.other).toEqual([resume(4)]);
});

test("what was pushed while a hole was filled is asked for as well", () => {
  const one = client(4);
  one.hears(message(6));
  one.hears(message(7));
  one.hears(resumed([message(5), message(6)]));
  expect(one.applied).toEqual([5, 6]);
  expect(one.other).toEqual([resume(4), resume(6)]);
  one.hears(resumed([message(7)]));
  expect(one.applied).toEqual([5, 6, 7]);
});

test("an answer in pages is asked for to its end", () => {
  const one = client(0);
  one.hears(hello(3));
  one.hears(resumed([message(1), message(2)], false));
  one.hears(resumed([message(3)], true));
  expect(one.applied).toEqual([1, 2, 3]);
  expect(one.other).toEqual([resume(0), resume(2)]);
});

test("an answer that holds a hole itself leads to a new snapshot", () => {
  const one = client(4);
  one.hears(resumed([message(5), message(7)]));
  expect(one.applied).toEqual([5]);
  expect(one.other).toEqual([{ do: "refetch", conversation: ID }]);
});

test("the hello and each heartbeat find a lost last entry", () => {
  const one = client(4);
  one.hears(hello(5));
  one.hears({ type: "heartbeat", positions: [{ conversation_id: ID, seq: 5 }] });
  expect(one.other).toEqual([resume(4), resume(4)]);
});

test("a heartbeat leads to the snapshots of what began or went on, and of nothing else that is not loaded", () => {
  const one = client(undefined);
  one.hears(hello(5));
  one.hears({ type: "heartbeat", positions: [{ conversation_id: ID, seq: 5 }] });
  expect(one.other).toEqual([]);
  one.hears({ type: "heartbeat", positions: [{ conversation_id: ID, seq: 6 }, { conversation_id: "new", seq: 0 }] });
  expect(one.other).toEqual([
    { do: "discover", conversation: ID },
    { do: "discover", conversation: "new" },
  ]);
});

test("a heartbeat that agrees asks for nothing", () => {
  const one = client(5);
  one.hears({ type: "heartbeat", positions: [{ conversation_id: ID, seq: 5 }] });
  expect(one.other).toEqual([]);
});

test("resync drops what is known of a conversation", () => {
  const one = client(5);
  one.hears({ type: "resync", conversation_id: ID });
  expect(one.other).toEqual([{ do: "refetch", conversation: ID }]);
});

test("another epoch makes everything known void", () => {
  const one = client(5);
  one.hears(hello(5));
  one.hears(hello(2, "e2"));
  expect(one.other).toEqual([{ do: "refetch-everything" }]);
});

test("an entry of an unknown conversation leads to its snapshot", () => {
  const one = client(undefined);
  one.hears(message(1));
  expect(one.applied).toEqual([]);
  expect(one.other).toEqual([{ do: "discover", conversation: ID }]);
});

test("the outbox hears of a stored message even if the entry is not applied", () => {
  const effect = { do: "stored", clientId: "k3", sender: "bob" };
  expect(receive(initialProtocol, () => 5, message(3))[1]).toEqual([effect]);
  expect(receive(initialProtocol, () => 1, message(3))[1]).toContainEqual(effect);
});

test("whatever is lost, doubled or late, every entry is applied once and in order", () => {
  // A small generator with a seed, so that a failure can be repeated.
  let seed = 7;
  const chance = () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed / 2 ** 31;
  };
  for (let run = 0; run < 200; run += 1) {
    const one = client(0);
    const log: LogEvent[] = [];
    const late: LogEvent[] = [];
    let asked = 0;
    for (let seq = 1; seq <= 40; seq += 1) {
      log.push(message(seq));
      const fate = chance();
      if (fate < 0.6) one.hears(message(seq));
      else if (fate < 0.8) late.push(message(seq));
      if (chance() < 0.2) late.splice(0).reverse().forEach(one.hears);
      if (chance() < 0.2) one.hears(message(Math.max(1, seq - 3)));
      for (; asked < one.other.length && chance() < 0.7; asked += 1) answer(one, log, one.other[asked]);
    }
    for (let beat = 0; beat < 5; beat += 1) {
      one.hears({ type: "heartbeat", positions: [{ conversation_id: ID, seq: 40 }] });
      for (; asked < one.other.length; asked += 1) answer(one, log, one.other[asked]);
    }
    expect(one.applied).toEqual(log.map(({ seq }) => seq));
  }
});

function answer(one: ReturnType<typeof client>, log: LogEvent[], effect: Effect | undefined) {
  if (effect?.do !== "send" || effect.frame.type !== "resume") return;
  const { after } = effect.frame;
  const events = log.filter(({ seq }) => seq > after).slice(0, 7);
  one.hears(resumed(events, after + events.length >= log.length));
}
