import "fake-indexeddb/auto";

import { configureStore } from "@reduxjs/toolkit";
import { afterEach, expect, test, vi } from "vitest";

import type { ClientFrame } from "../api/types";
import { fakeClock } from "../socket/fakes";
import { Database } from "./database";
import { Mailbox } from "./mailbox";
import { entrySelectors, outbox } from "./outbox";

// Chromium's own IndexedDB and locks are covered by tests/browser.
let users = 0;
const open: Mailbox[] = [];

/** A tab of the user: its own memory on the shared database. */
async function tab(user: string) {
  const store = configureStore({ reducer: outbox.reducer });
  const mailbox = new Mailbox({
    user,
    clock: fakeClock(),
    database: new Database(user),
    locks: null,
    dispatch: store.dispatch,
    outbox: store.getState,
  });
  open.push(mailbox);
  await mailbox.open();
  const frames: ClientFrame[] = [];
  return {
    mailbox,
    frames,
    entries: () => entrySelectors.selectAll(store.getState()),
    draft: () => store.getState().drafts["c"],
    connect: () => mailbox.connected((frame) => frames.push(frame) > 0),
  };
}
const someone = () => `user-${(users += 1)}`;
const draft = (client_id: string, content = "hello") => ({ client_id, conversation_id: "c", content });

afterEach(() => {
  open.splice(0).forEach((mailbox) => mailbox.close());
});

test("what was written offline survives a reload and is sent with the same id", async () => {
  const user = someone();
  const first = await tab(user);
  first.mailbox.write(draft("k1"));
  await vi.waitFor(async () => expect(await new Database(user).entries()).toHaveLength(1));
  first.mailbox.close();

  const second = await tab(user);
  expect(second.entries()).toMatchObject([{ client_id: "k1", content: "hello", state: "waiting" }]);
  second.connect();
  expect(second.frames).toEqual([{ type: "message.create", client_id: "k1", conversation_id: "c", content: "hello" }]);
});

test("a stored message leaves the outbox for good", async () => {
  const user = someone();
  const one = await tab(user);
  one.connect();
  one.mailbox.write(draft("k1"));
  one.mailbox.accepted("k1");
  expect(one.entries()).toMatchObject([{ state: "accepted" }]);
  one.mailbox.stored("k1");
  expect(one.entries()).toEqual([]);
  await vi.waitFor(async () => expect(await new Database(user).entries()).toEqual([]));
});

test("a refused message stays with its reason, and a new try has a new id", async () => {
  const one = await tab(someone());
  one.connect();
  one.mailbox.write(draft("k1"));
  one.mailbox.refused("k1", "forbidden", "not a member");
  expect(one.entries()).toMatchObject([{ client_id: "k1", state: "refused", refusal: { code: "forbidden" } }]);
  one.mailbox.retry("k1");
  const [again] = one.entries();
  expect(again).toMatchObject({ content: "hello", state: "waiting" });
  expect(again?.client_id).not.toBe("k1");
});

test("a draft keeps its id from the first keystroke to the next page load", async () => {
  const user = someone();
  const one = await tab(user);
  one.mailbox.draft(draft("k1", "h"));
  one.mailbox.draft(draft("k1", "he"));
  await vi.waitFor(async () => expect(await new Database(user).drafts()).toMatchObject([{ content: "he" }]));
  expect((await tab(user)).draft()).toMatchObject({ client_id: "k1", content: "he" });
});

test("another tab shows what was written here", async () => {
  const user = someone();
  const here = await tab(user);
  const there = await tab(user);
  here.mailbox.write(draft("k1"));
  await vi.waitFor(() => expect(there.entries()).toHaveLength(1));
});
