import { configureStore } from "@reduxjs/toolkit";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { chatApi } from "../api/chat-api";
import type { MessagePage, MessageView } from "../api/types";
import { loadMore } from "./load";
import { reducer } from "./state";
import { filled, opened } from "./threads";

const ID = "c";
const message = (seq: number): MessageView => ({
  id: `m${seq}`,
  conversation_id: ID,
  seq,
  sender_id: "peer",
  client_id: `k${seq}`,
  content: `${seq}`,
  created_at: "2026-01-01T00:00:00Z",
});
const page = (from: number, to: number): MessagePage => ({
  messages: Array.from({ length: to - from + 1 }, (_, index) => message(from + index)),
  reads: [],
  seq: 200,
  has_before: from > 1,
  has_after: to < 200,
});

const answers = vi.fn<() => Promise<Response>>();

beforeEach(() => {
  // Without a page there is no address that a path could belong to.
  vi.stubGlobal("Request", class extends Request {
    constructor(path: string, init?: RequestInit) {
      super(new URL(path, "http://chat.test"), init);
    }
  });
  vi.stubGlobal("fetch", answers);
  answers.mockReset();
});
afterEach(() => vi.unstubAllGlobals());

function open() {
  const store = configureStore({ reducer, middleware: (standard) => standard().concat(chatApi.middleware) });
  store.dispatch(opened({ id: ID, unreadAfter: null, keep: false }));
  store.dispatch(filled({ id: ID, asked: { way: "open" }, page: page(151, 200) }));
  return { store, thread: () => store.getState().threads[ID] };
}

test("a page that did not come is asked for again on request, not by each scroll", async () => {
  const { store, thread } = open();
  answers.mockRejectedValueOnce(new TypeError("Failed to fetch"));
  await store.dispatch(loadMore(ID, "before"));
  expect(thread()?.stalled).toEqual({ way: "before", tries: 1 });
  await store.dispatch(loadMore(ID, "before"));
  expect(answers).toHaveBeenCalledTimes(1);
  answers.mockResolvedValueOnce(Response.json(page(101, 150)));
  await store.dispatch(loadMore(ID, "before", true));
  expect(thread()?.messages[0]?.seq).toBe(101);
  expect(thread()?.stalled).toBeNull();
});

test("a page is asked for once, however often the list wants it", async () => {
  const { store, thread } = open();
  answers.mockResolvedValue(Response.json(page(101, 150)));
  await Promise.all([store.dispatch(loadMore(ID, "before")), store.dispatch(loadMore(ID, "before"))]);
  expect(answers).toHaveBeenCalledTimes(1);
  expect(thread()?.messages).toHaveLength(100);
});
