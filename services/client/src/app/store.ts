import { configureStore } from "@reduxjs/toolkit";

import { chatApi } from "../api/chat-api";
import { reducer } from "../chat/state";

export const makeStore = () =>
  configureStore({
    reducer,
    middleware: (standard) => standard().concat(chatApi.middleware),
  });

export type Store = ReturnType<typeof makeStore>;
