import { expect, test } from "vitest";

import type { Conversation } from "../api/types";
import { conversations, conversationSelectors, learned, pageFetched } from "./conversations";
import { renamed } from "./names";
import { currentUser, session } from "./session";

const conversation = (display_name: string): Conversation => ({
  id: "c",
  members: [
    { user_id: "me", username: "me", display_name: "Me" },
    { user_id: "ann", username: "ann", display_name },
  ],
  created_at: "2026-01-01T00:00:00Z",
  last_message: null,
  last_activity_at: "2026-01-01T00:00:00Z",
  unread: 0,
  read_up_to: 0,
  peer_read_up_to: 0,
  seq: 0,
});
const run = (...actions: Parameters<typeof conversations.reducer>[1][]) =>
  conversationSelectors
    .selectById(actions.reduce(conversations.reducer, conversations.getInitialState()), "c")
    ?.members.map(({ display_name }) => display_name);

test("a changed name is shown in the conversations that are here", () => {
  const ann = { id: "ann", username: "ann", display_name: "Ann the Second" };
  expect(run(learned(conversation("Ann")), renamed([ann]))).toEqual(["Me", "Ann the Second"]);
});

test("a name that changed while nobody listened comes with the next page", () => {
  // Answers are frozen once they are in the store.
  const unknown = Object.freeze({ ...conversation("Ann the Second"), id: "d" });
  const page = { page: [conversation("Ann the Second"), unknown], nextCursor: null, first: true, held: ["c"] };
  expect(run(learned(conversation("Ann")), pageFetched(page))).toEqual(["Me", "Ann the Second"]);
});

test("my own new name outlives an account that still has the one of the sign-up", () => {
  const account = { id: "me", username: "me", display_name: "Me", email: "me@example.org" };
  const answered = {
    type: "api/executeQuery/fulfilled",
    payload: { user: account, session: { id: "s", expires_at: "2026-01-01T00:00:00Z" } },
    meta: { requestId: "r", requestStatus: "fulfilled", arg: { type: "query", endpointName: "currentUser" } },
  };
  expect(currentUser.matchFulfilled(answered)).toBe(true);
  const mine = [answered, renamed([{ id: "me", username: "me", display_name: "Myself" }]), answered];
  expect(mine.reduce(session.reducer, undefined)?.user).toEqual({ ...account, display_name: "Myself" });
});
