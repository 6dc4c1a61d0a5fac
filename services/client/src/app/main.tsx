import "./style.css";

import { createRoot } from "react-dom/client";
import { Provider } from "react-redux";
import { RouterProvider } from "react-router";

import { chatApi } from "../api/chat-api";
import { forgotten } from "../chat/log";
import { onSignOutElsewhere } from "../features/session/other-tabs";
import { chosenTheme, showTheme } from "../ui/theme";
import { makeRouter } from "./router";
import { makeStore } from "./store";

showTheme(chosenTheme());

const store = makeStore();
onSignOutElsewhere(() => {
  store.dispatch(forgotten());
  store.dispatch(chatApi.util.resetApiState());
});

const root = document.getElementById("app");
if (root) {
  createRoot(root).render(
    <Provider store={store}>
      <RouterProvider router={makeRouter(store)} />
    </Provider>,
  );
}
