import { expect, test } from "vitest";

import type { Conversation, LogEvent, MessageView } from "../api/types";
import { after } from "./conversation";

const at = (seq: number) => new Date(Date.UTC(2026, 0, 1) + seq * 1_000).toISOString();

const stored = (seq: number, sender_id: string): LogEvent => ({
  type: "message.stored",
  conversation_id: "c",
  seq,
  message: { id: `m${seq}`, conversation_id: "c", seq, sender_id, client_id: `k${seq}`, content: `${seq}`, created_at: at(seq) },
});
const read = (seq: number, user_id: string, up_to: number): LogEvent => ({
  type: "message.read",
  conversation_id: "c",
  seq,
  user_id,
  up_to,
  at: at(seq),
});

/** The snapshot as the messages service makes it, from the whole log. */
function snapshot(log: LogEvent[]): Conversation {
  const messages = log.flatMap((event): MessageView[] => (event.type === "message.stored" ? [event.message] : []));
  const mark = (user: string) =>
    Math.max(0, ...log.map((event) => (event.type === "message.read" && event.user_id === user ? event.up_to : 0)));
  return {
    id: "c",
    members: [],
    created_at: at(0),
    last_message: messages.at(-1) ?? null,
    last_activity_at: messages.at(-1)?.created_at ?? at(0),
    unread: messages.filter(({ seq, sender_id }) => sender_id !== "me" && seq > mark("me")).length,
    read_up_to: mark("me"),
    peer_read_up_to: mark("peer"),
    seq: log.length,
  };
}

test("a snapshot plus the entries after it is the fresh snapshot", () => {
  let seed = 11;
  const chance = () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed / 2 ** 31;
  };
  let exact = 0;
  for (let run = 0; run < 300; run += 1) {
    const log: LogEvent[] = [];
    let known = snapshot(log);
    for (let seq = 1; seq <= 30; seq += 1) {
      const kind = chance();
      if (kind < 0.35) log.push(stored(seq, "peer"));
      else if (kind < 0.6) log.push(stored(seq, "me"));
      else log.push(read(seq, kind < 0.8 ? "me" : "peer", Math.floor(chance() * seq)));
      const event = log.at(-1) as LogEvent;
      const next = after(known, event, "me");
      // Null says that only the server knows: then the snapshot is fetched.
      if (next) exact += 1;
      known = next ?? snapshot(log);
      // A mark never goes back in the log, and so it does not here.
      expect(known).toEqual(snapshot(log));
    }
  }
  expect(exact).toBeGreaterThan(8_000);
});

test("my own message is never unread", () => {
  expect(after(snapshot([]), stored(1, "me"), "me")?.unread).toBe(0);
  expect(after(snapshot([]), stored(1, "peer"), "me")?.unread).toBe(1);
});

test("a mark that leaves some messages unread asks for the count", () => {
  const three = snapshot([stored(1, "peer"), stored(2, "peer"), stored(3, "peer")]);
  expect(after(three, read(4, "me", 2), "me")).toBeNull();
  expect(after(three, read(4, "me", 3), "me")?.unread).toBe(0);
});
