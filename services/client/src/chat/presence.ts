import { createSlice, type PayloadAction } from "@reduxjs/toolkit";

import type { PublicUser } from "../api/types";
import { forgotten } from "./log";

interface Presence {
  /** What the socket said of somebody; others are as the last REST answer said. */
  heard: Record<string, boolean>;
  /** The hello names at most this many, so with fewer the rest is offline. */
  complete: boolean;
  /** Who is typing, by conversation; the value is the user. */
  typing: Record<string, string>;
}

const HELLO_MAX = 1_000;
const initialState: Presence = { heard: {}, complete: false, typing: {} };

export const presence = createSlice({
  name: "presence",
  initialState,
  reducers: {
    greeted(state, { payload }: PayloadAction<PublicUser[]>) {
      state.heard = Object.fromEntries(payload.map(({ id }) => [id, true]));
      state.complete = payload.length < HELLO_MAX;
    },
    came(state, { payload }: PayloadAction<PublicUser[]>) {
      for (const { id } of payload) state.heard[id] = true;
    },
    went(state, { payload }: PayloadAction<PublicUser[]>) {
      for (const { id } of payload) state.heard[id] = false;
    },
    typed(state, { payload }: PayloadAction<{ conversation: string; user: string; active: boolean }>) {
      if (payload.active) state.typing[payload.conversation] = payload.user;
      else if (state.typing[payload.conversation] === payload.user) delete state.typing[payload.conversation];
    },
    typingForgotten(state) {
      state.typing = {};
    },
  },
  extraReducers: (builder) => builder.addCase(forgotten, () => initialState),
});

/** Live if the socket said something, otherwise what REST said. */
export function isOnline(state: Presence, user: string, fetched: boolean): boolean {
  return state.heard[user] ?? (state.complete ? false : fetched);
}

export const { greeted, came, went, typed, typingForgotten } = presence.actions;
