import { createSlice, type PayloadAction } from "@reduxjs/toolkit";

import type { MessagePage, MessageView } from "../api/types";
import { forgotten, logged } from "./log";

export type Way = "before" | "after";

/** The part of a conversation's messages that is here: without a hole, in order. */
export interface Thread {
  status: "loading" | "ready" | "failed";
  messages: MessageView[];
  hasBefore: boolean;
  hasAfter: boolean;
  /** Which way a page is on its way. */
  fetching: Way | null;
  /** A page that did not come, and how often it was asked for. */
  stalled: { way: Way; tries: number } | null;
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
  stalled: null,
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
    fetching(state, { payload }: PayloadAction<{ id: string; way: Way }>) {
      const thread = state[payload.id];
      if (thread) thread.fetching = payload.way;
    },
    failed(state, { payload: { id, asked } }: PayloadAction<{ id: string; asked: Asked }>) {
      const thread = state[id];
      if (!thread || !isWanted(thread, asked)) return;
      if (asked.way === "open") {
        thread.status = "failed";
        return;
      }
      thread.fetching = null;
      const tries = thread.stalled?.way === asked.way ? thread.stalled.tries + 1 : 1;
      thread.stalled = { way: asked.way, tries };
    },
    filled(state, { payload: { id, asked, page } }: PayloadAction<{ id: string; asked: Asked; page: MessagePage }>) {
      const thread = state[id];
      if (thread && isWanted(thread, asked)) fill(thread, asked.way, page);
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

/** What a page was asked for: a place to begin, or what joins on to the message at the edge. */
export type Asked = { way: "open" } | { way: Way; edge: number };

/** Where a message ends the log that is here, on that side. */
export const edgeOf = ({ messages }: Thread, way: Way): number =>
  (way === "before" ? messages[0] : messages.at(-1))?.seq ?? 0;

/** The log may have been opened at another place meanwhile: an answer that does not join on is late. */
const isWanted = (thread: Thread, asked: Asked): boolean =>
  asked.way === "open" || (thread.status === "ready" && edgeOf(thread, asked.way) === asked.edge);

function fill(thread: Thread, way: Asked["way"], page: MessagePage) {
  thread.status = "ready";
  thread.fetching = null;
  thread.stalled = null;
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
