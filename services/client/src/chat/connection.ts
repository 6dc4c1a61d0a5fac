import { createSlice, type PayloadAction } from "@reduxjs/toolkit";

import type { ConnectionStatus } from "../socket/connection";

/** What the banner says; the connection itself lives in src/socket. */
export const connection = createSlice({
  name: "connection",
  initialState: { phase: "idle", attempts: 0 } as ConnectionStatus,
  reducers: {
    statusChanged: (_, { payload }: PayloadAction<ConnectionStatus>) => payload,
  },
});

export const { statusChanged } = connection.actions;
