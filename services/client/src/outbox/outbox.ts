import { createEntityAdapter, createSlice, type PayloadAction } from "@reduxjs/toolkit";

import { forgotten, logged } from "../chat/log";
import { inOrder, type Draft, type Entry } from "./entry";

const adapter = createEntityAdapter({ selectId: (entry: Entry) => entry.client_id, sortComparer: inOrder });

const empty = adapter.getInitialState({
  drafts: {} as Record<string, Draft>,
  /** What the database holds is here. */
  loaded: false,
});

/** What the database holds, for the eye; src/outbox/mailbox.ts keeps both alike. */
export const outbox = createSlice({
  name: "outbox",
  initialState: empty,
  reducers: {
    restored(state, { payload }: PayloadAction<{ entries: Entry[]; drafts: Draft[] }>) {
      adapter.setMany(state, payload.entries);
      state.drafts = Object.fromEntries(payload.drafts.map((draft) => [draft.conversation_id, draft]));
      state.loaded = true;
    },
    kept(state, { payload }: PayloadAction<Entry>) {
      adapter.setOne(state, payload);
    },
    removed(state, { payload: clientId }: PayloadAction<string>) {
      adapter.removeOne(state, clientId);
    },
    drafted(state, { payload }: PayloadAction<Draft>) {
      if (payload.content === "") delete state.drafts[payload.conversation_id];
      else state.drafts[payload.conversation_id] = payload;
    },
  },
  extraReducers: (builder) =>
    builder
      .addCase(forgotten, () => empty)
      // In the same step in which the message appears in the log.
      .addCase(logged, (state, { payload: { event, me } }) => {
        if (event.type === "message.stored" && event.message.sender_id === me) {
          adapter.removeOne(state, event.message.client_id);
        }
      }),
});

export const { restored, kept, removed, drafted } = outbox.actions;
export const entrySelectors = adapter.getSelectors();
