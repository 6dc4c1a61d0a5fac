import { createEntityAdapter, createSlice, type PayloadAction } from "@reduxjs/toolkit";

import type { Conversation } from "../api/types";
import { after } from "./conversation";
import { forgotten, logged } from "./log";
import { renamed } from "./names";

const adapter = createEntityAdapter<Conversation>({
  sortComparer: (a, b) =>
    Date.parse(b.last_activity_at) - Date.parse(a.last_activity_at) || (a.id < b.id ? 1 : -1),
});

const empty = adapter.getInitialState({
  /** Unknown until the first page came. */
  nextCursor: undefined as string | null | undefined,
  /** Conversations whose snapshot has to be fetched again. */
  stale: [] as string[],
});

/** The snapshot of each conversation plus the entries of its log since then. */
export const conversations = createSlice({
  name: "conversations",
  initialState: empty,
  reducers: {
    /** A page of the list. A conversation that is `held` open is filled by its log instead. */
    pageFetched(
      state,
      { payload }: PayloadAction<{ page: Conversation[]; nextCursor: string | null; first: boolean; held: string[] }>,
    ) {
      const news = payload.page.filter(({ id, seq }) => {
        const known = state.entities[id];
        return !known || (seq > known.seq && !payload.held.includes(id));
      });
      // Names are not in the log: the newest page has the newest ones.
      for (const { id, members } of payload.page) {
        const known = state.entities[id];
        if (known) known.members = members;
      }
      adapter.upsertMany(state, news);
      // A first page that is fetched again does not shorten the list.
      if (!payload.first || state.nextCursor === undefined) state.nextCursor = payload.nextCursor;
    },
    /** The snapshot counts, whatever was known. */
    replaced(state, { payload }: PayloadAction<Conversation>) {
      adapter.setOne(state, payload);
      state.stale = state.stale.filter((id) => id !== payload.id);
    },
    cleared: () => empty,
    /** Learned by the way, for example from the answer to "start a conversation". */
    learned(state, { payload }: PayloadAction<Conversation>) {
      if (!state.entities[payload.id]) adapter.addOne(state, payload);
    },
  },
  extraReducers: (builder) =>
    builder
      .addCase(forgotten, () => empty)
      .addCase(renamed, (state, { payload }) => {
        const names = new Map(payload.map((user) => [user.id, user]));
        for (const { members } of Object.values(state.entities)) {
          for (const member of members) {
            const user = names.get(member.user_id);
            if (user) Object.assign(member, { username: user.username, display_name: user.display_name });
          }
        }
      })
      .addCase(logged, (state, { payload: { event, me } }) => {
        const known = state.entities[event.conversation_id];
        if (!known) return;
        const next = after(known, event, me);
        adapter.upsertOne(state, next ?? { ...known, seq: event.seq });
        if (!next && !state.stale.includes(known.id)) state.stale.push(known.id);
      }),
});

export const { cleared, pageFetched, replaced, learned } = conversations.actions;
export const conversationSelectors = adapter.getSelectors();
