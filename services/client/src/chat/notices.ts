import { createSlice, type PayloadAction } from "@reduxjs/toolkit";

import type { NoticeView } from "../api/types";
import { forgotten } from "./log";

interface State {
  unread: number;
  /** Notices shown for a moment, the newest last. */
  toasts: NoticeView[];
}

const TOASTS = 3;
const initialState: State = { unread: 0, toasts: [] };

export const notices = createSlice({
  name: "notices",
  initialState,
  reducers: {
    counted(state, { payload }: PayloadAction<number>) {
      state.unread = payload;
    },
    toasted(state, { payload }: PayloadAction<NoticeView>) {
      const others = state.toasts.filter((toast) => toast.conversation_id !== payload.conversation_id);
      state.toasts = [...others, payload].slice(-TOASTS);
    },
    dismissed(state, { payload: id }: PayloadAction<string>) {
      state.toasts = state.toasts.filter((toast) => toast.id !== id);
    },
    /** The conversation is open now. */
    seen(state, { payload: conversation }: PayloadAction<string>) {
      state.toasts = state.toasts.filter((toast) => toast.conversation_id !== conversation);
    },
  },
  extraReducers: (builder) => builder.addCase(forgotten, () => initialState),
});

export const { counted, toasted, dismissed, seen } = notices.actions;
