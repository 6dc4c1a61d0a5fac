import { createSlice, type PayloadAction } from "@reduxjs/toolkit";

import type { MessagePage, MessageView } from "../api/types";
import { forgotten, logged } from "./log";

/** The part of a conversation's messages that is here: without a hole, in order. */
export interface Thread {
  status: "loading" | "ready" | "failed";
  messages: MessageView[];
  hasBefore: boolean;
  hasAfter: boolean;
  /** Which way a page is on its way. */
  fetching: "before" | "after" | null;
  /** Where messages were added last: the list keeps its place by it. */
  grew: "start" | "end";
  /** New messages while the end of the log is not here. */
  aside: MessageView[];
  /** The unread line is before the first message after this place. */
  unreadAfter: number | null;
  /** The last message that came from somebody else while we looked. */
  heard: MessageView | null;
}

/** More than this, and the end is fetched again rather than pieced together. */
const ASIDE = 200;

const fresh = (unreadAfter: number | null): Thread => ({
  status: "loading",
  messages: [],
  hasBefore: false,
  hasAfter: true,
  fetching: null,
  grew: "end",
  aside: [],
  unreadAfter,
  heard: null,
});

type Threads = Record<string, Thread>;

export const threads = createSlice({
  name: "threads",
  initialState: {} as Threads,
  reducers: {
    opened(state, { payload }: PayloadAction<{ id: string; unreadAfter: number | null; keep: boolean }>) {
      const thread = state[payload.id];
      if (!payload.keep || !thread) state[payload.id] = fresh(payload.unreadAfter);
      else thread.unreadAfter = payload.unreadAfter;
    },
    fetching(state, { payload }: PayloadAction<{ id: string; way: "before" | "after" }>) {
      const thread = state[payload.id];
      if (thread) thread.fetching = payload.way;
    },
    failed(state, { payload: id }: PayloadAction<string>) {
      const thread = state[id];
      if (!thread) return;
      thread.fetching = null;
      if (thread.status === "loading") thread.status = "failed";
    },
    filled(state, { payload }: PayloadAction<{ id: string; way: "open" | "before" | "after"; page: MessagePage }>) {
      const thread = state[payload.id];
      if (thread) fill(thread, payload.way, payload.page);
    },
    settled(state, { payload: id }: PayloadAction<string>) {
      const thread = state[id];
      if (thread) thread.grew = "end";
    },
    dropped(state, { payload: id }: PayloadAction<string>) {
      delete state[id];
    },
  },
  extraReducers: (builder) =>
    builder
      .addCase(forgotten, () => ({}))
      .addCase(logged, (state, { payload: { event, me } }) => {
        const thread = state[event.conversation_id];
        if (!thread || event.type !== "message.stored") return;
        const { message } = event;
        if (message.sender_id !== me) thread.heard = message;
        if (thread.status === "ready" && !thread.hasAfter) {
          thread.messages = joined(thread.messages, [message]);
          return;
        }
        thread.aside.push(message);
        if (thread.aside.length > ASIDE) thread.aside.shift();
      }),
});

function fill(thread: Thread, way: "open" | "before" | "after", page: MessagePage) {
  thread.status = "ready";
  thread.fetching = null;
  if (way === "before") {
    thread.messages = joined(page.messages, thread.messages);
    thread.hasBefore = page.has_before;
    thread.grew = "start";
    return;
  }
  if (way === "open") {
    thread.messages = page.messages;
    thread.hasBefore = page.has_before;
  } else {
    thread.messages = joined(thread.messages, page.messages);
  }
  thread.grew = "end";
  thread.hasAfter = page.has_after;
  if (page.has_after) return;
  // The page ends the log as of `page.seq`; what came since then was put aside.
  const since = thread.aside.filter((message) => message.seq > page.seq);
  if (since.length === ASIDE) {
    thread.hasAfter = true;
    return;
  }
  thread.messages = joined(thread.messages, since);
  thread.aside = [];
}

/** Both in order of the log; what is in both counts once. */
function joined(first: MessageView[], second: MessageView[]): MessageView[] {
  const last = first.at(-1)?.seq ?? -1;
  const tail = second.filter((message) => message.seq > last);
  return tail.length === 0 ? first : [...first, ...tail];
}

export const { opened, fetching, failed, filled, settled, dropped } = threads.actions;
