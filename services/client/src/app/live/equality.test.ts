// What a client knows after a frame is what a client knows that begins now: for
// each frame that a server says, and whatever is lost, repeated or overtaken.
import fc from "fast-check";
import { afterAll, beforeAll, expect, test, vi } from "vitest";

import type { NotificationFrame, ServerFrame } from "../../api/types";
import { FakeChat, ME, PEER, type Fate, type Pick } from "./fake-chat";
import { answering, Device } from "./fake-device";

type Happening = (chat: FakeChat, pick: Pick, device?: Device) => ServerFrame[];

const writes =
  (fate: Fate): Happening =>
  (chat, pick, device) => {
    const draft = chat.plan(chat.one(pick), fate);
    device?.mailbox.write(draft);
    return [];
  };

/**
 * What has to happen before the server says it. A new frame does not compile
 * before it is here.
 */
const HAPPENINGS: Record<ServerFrame["type"], Happening> = {
  // What happened meanwhile was not pushed.
  hello: (chat, pick) => {
    if (pick(3) === 0) {
      chat.restores += 1;
      for (const id of chat.logs.keys()) chat.lose(id, pick);
    }
    chat.goOn(pick);
    return [chat.hello()];
  },
  heartbeat: (chat, pick) => {
    chat.goOn(pick);
    return [{ type: "heartbeat", positions: chat.positions() }];
  },
  // The client writes, and hears it in answer.
  accepted: writes("accepted"),
  refused: writes("refused"),
  error: writes("accepted when said again"),
  typing: (chat, pick) => [{ type: "typing", conversation_id: chat.one(pick), user_id: PEER, active: pick(2) === 0 }],
  "conversation.created": (chat) => [
    { type: "conversation.created", conversation_id: chat.begin(), members: [], created_at: "2026-01-01T00:00:00Z" },
  ],
  // All but the last push is lost: the client asks.
  resumed: (chat, pick) => {
    const id = chat.one(pick);
    const missed = Array.from({ length: 2 + pick(6) }, () => chat.store(id, pick));
    return missed.slice(-1);
  },
  resync: (chat, pick) => {
    const id = chat.one(pick);
    // A database that was restored and goes on under its old name.
    chat.lose(id, pick);
    chat.store(id, pick);
    return [{ type: "resync", conversation_id: id }];
  },
  going_away: () => [{ type: "going_away", delay_ms: 1 }],
  "message.stored": (chat, pick) => [chat.store(chat.one(pick), pick)],
  "message.read": (chat, pick) => [chat.mark(chat.one(pick), pick)],
};

/** The same for the other socket. */
const OF_OTHERS: Record<NotificationFrame["type"], (chat: FakeChat, pick: Pick) => NotificationFrame> = {
  hello: (chat, pick) => {
    chat.online = pick(2) === 0 ? [PEER] : [ME, PEER];
    chat.notices = pick(9);
    chat.names.set(PEER, `peer ${pick(9)}`);
    return chat.greeting();
  },
  "user.online": (chat, pick) => {
    chat.online = [...new Set([...chat.online, PEER])];
    chat.names.set(PEER, `peer ${pick(9)}`);
    return { type: "user.online", users: [chat.person(PEER)] };
  },
  "user.offline": (chat) => {
    chat.online = chat.online.filter((id) => id !== PEER);
    return { type: "user.offline", users: [chat.person(PEER)] };
  },
  "user.updated": (chat, pick) => {
    const who = pick(2) === 0 ? ME : PEER;
    chat.names.set(who, `${who} ${pick(9)}`);
    return { type: "user.updated", users: [chat.person(who)] };
  },
  notice: (chat) => {
    chat.notices += 1;
    const [conversation_id = ""] = chat.logs.keys();
    const notice = { id: "n", conversation_id, message_id: "m", seq: 1, sender_id: PEER, sender_username: PEER, preview: "", created_at: "2026-01-01T00:00:00Z" };
    return { type: "notice", notice, unread: chat.notices };
  },
  unread: (chat, pick) => {
    chat.notices = pick(9);
    return { type: "unread", unread: chat.notices };
  },
  heartbeat: () => ({ type: "heartbeat" }),
  error: () => ({ type: "error", code: "internal", detail: "" }),
  going_away: () => ({ type: "going_away", delay_ms: 1 }),
};

/** A property runs many cases, each with two clients; in milliseconds. */
const PATIENCE = 60_000;
const TYPES = Object.keys(HAPPENINGS) as ServerFrame["type"][];
/** What one connection may say; a greeting begins another one. */
const PUSHED = TYPES.filter((type) => !["hello", "resumed", "resync"].includes(type));

let chat = new FakeChat();
beforeAll(() => answering(() => chat));
afterAll(() => void vi.unstubAllGlobals());

/** A chat after some random things. */
function past(pick: Pick) {
  chat = new FakeChat();
  chat.begin();
  for (let number = pick(25); number > 0; number -= 1) HAPPENINGS[TYPES[pick(TYPES.length)] as ServerFrame["type"]](chat, pick);
}

async function equal(device: Device) {
  const fresh = await Device.fresh(chat, device.open);
  const known = device.snapshot();
  expect(known).toEqual(fresh.snapshot());
  // What both know in the same way may still be wrong.
  expect(known.outbox.map(({ client_id, state }) => ({ client_id, state }))).toEqual(chat.outbox());
  expect(known.typing).toEqual({});
  for (const one of [device, fresh]) one.close();
}

const property = (runs: number, work: (pick: Pick) => Promise<void>) =>
  fc.assert(
    fc.asyncProperty(fc.gen(), (gen) => work((count) => gen(fc.nat, { max: count - 1 }))),
    { numRuns: runs },
  );

test.each(TYPES)("a snapshot and %s are the fresh snapshot", (type) =>
  property(40, async (pick) => {
    past(pick);
    const device = await Device.fresh(chat);
    device.heard.clear();
    device.inbox.push(...HAPPENINGS[type](chat, pick, device));
    await device.settle();
    expect([...device.heard]).toContain(type);
    await equal(device);
  }),
  PATIENCE,
);

test.each(Object.keys(OF_OTHERS) as NotificationFrame["type"][])("a snapshot and %s of the other socket are the fresh snapshot", (type) =>
  property(20, async (pick) => {
    past(pick);
    const device = await Device.fresh(chat);
    device.hearsOfOthers(OF_OTHERS[type](chat, pick));
    await device.settle();
    await equal(device);
  }),
  PATIENCE,
);

test("frames that are lost, repeated or late are made good", () =>
  property(60, async (pick) => {
    past(pick);
    const device = await Device.fresh(chat);
    const said: ServerFrame[] = [];
    for (let number = 1 + pick(20); number > 0; number -= 1) {
      said.push(...HAPPENINGS[PUSHED[pick(PUSHED.length)] as ServerFrame["type"]](chat, pick, device), ...device.inbox.splice(0));
    }
    for (let number = said.length > 0 ? pick(40) : 0; number > 0; number -= 1) {
      device.hears(said[pick(said.length)] as ServerFrame);
      // Some of what it asks for is answered, and some answers are lost.
      said.push(...device.inbox.splice(0));
    }
    device.inbox = [pick(2) === 0 ? chat.hello() : { type: "heartbeat", positions: chat.positions() }];
    await device.settle();
    await equal(device);
  }),
  PATIENCE,
);
