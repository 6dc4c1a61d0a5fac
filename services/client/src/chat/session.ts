import { createSlice } from "@reduxjs/toolkit";

import { chatApi, sessionEnded } from "../api/chat-api";
import type { Account, CurrentUser } from "../api/types";
import { forgotten } from "./log";

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
      .addMatcher(currentUser.matchFulfilled, (_, { payload }): Session => ({ status: "in", user: payload.user })),
});
