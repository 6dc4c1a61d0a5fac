import { combineReducers, type Action, type ThunkAction, type ThunkDispatch } from "@reduxjs/toolkit";
import { useDispatch, useSelector } from "react-redux";

import { chatApi } from "../api/chat-api";
import { outbox } from "../outbox/outbox";
import { connection } from "./connection";
import { conversations } from "./conversations";
import { notices } from "./notices";
import { presence } from "./presence";
import { session } from "./session";
import { threads } from "./threads";

/** Everything the client knows, in one place. */
export const reducer = combineReducers({
  [chatApi.reducerPath]: chatApi.reducer,
  [session.name]: session.reducer,
  [connection.name]: connection.reducer,
  [conversations.name]: conversations.reducer,
  [threads.name]: threads.reducer,
  [presence.name]: presence.reducer,
  [outbox.name]: outbox.reducer,
  [notices.name]: notices.reducer,
});

export type State = ReturnType<typeof reducer>;
export type AppDispatch = ThunkDispatch<State, unknown, Action>;
export type AppThunk<T = void> = ThunkAction<T, State, unknown, Action>;

export const useAppDispatch = useDispatch.withTypes<AppDispatch>();
export const useAppSelector = useSelector.withTypes<State>();

export const useMe = (): string => useAppSelector((state) => state.session.user?.id ?? "");
