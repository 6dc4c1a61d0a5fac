import { createSlice } from "@reduxjs/toolkit";

import { chatApi, sessionEnded } from "../api/chat-api";
import type { Account, CurrentUser } from "../api/types";
import { forgotten } from "./log";
import { renamed } from "./names";

const requests = chatApi.injectEndpoints({
  endpoints: (build) => ({
    currentUser: build.query<CurrentUser, void>({ query: () => "/auth/currentuser" }),
  }),
});

export const { currentUser } = requests.endpoints;
export const { useCurrentUserQuery } = requests;

interface Session {
  status: "unknown" | "in" | "out";
  user: Account | null;
}

const initialState: Session = { status: "unknown", user: null };

export const session = createSlice({
  name: "session",
  initialState,
  reducers: {},
  extraReducers: (builder) =>
    builder
      .addCase(forgotten, (): Session => ({ status: "out", user: null }))
      .addCase(sessionEnded, (): Session => ({ status: "out", user: null }))
      .addCase(renamed, (state, { payload }) => {
        const me = payload.find(({ id }) => id === state.user?.id);
        if (state.user && me) state.user.display_name = me.display_name;
      })
      .addMatcher(currentUser.matchFulfilled, ({ user: known }, { payload: { user } }): Session => {
        // auth hears of a new name a moment after users: what was heard here is newer.
        const display_name = known?.id === user.id ? known.display_name : user.display_name;
        return { status: "in", user: { ...user, display_name } };
      }),
});
