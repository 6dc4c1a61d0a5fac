import { createBrowserRouter } from "react-router";

import { ConversationsPage } from "../features/conversations/conversations-page";
import { PeoplePage } from "../features/people/people-page";
import { SignedIn, SignedOut } from "../features/session/guards";
import { SignInPage } from "../features/session/sign-in-page";
import { SignUpPage } from "../features/session/sign-up-page";
import { ThreadPage } from "../features/thread/thread-page";
import { Broken } from "./broken";
import { Shell } from "./shell";
import type { Store } from "./store";
import { Welcome } from "./welcome";
import { WithLive } from "./with-live";

/** Every page. */
export const makeRouter = (store: Store) =>
  createBrowserRouter([
    {
      errorElement: <Broken />,
      children: [
        {
          element: <SignedOut />,
          children: [
            { path: "/sign-in", element: <SignInPage /> },
            { path: "/sign-up", element: <SignUpPage /> },
          ],
        },
        {
          element: <SignedIn />,
          children: [
            {
              element: <WithLive store={store} />,
              children: [
                { path: "/", element: <Shell side={<ConversationsPage />} front="side" main={<Welcome />} /> },
                { path: "/people", element: <Shell side={<PeoplePage />} front="side" main={<Welcome />} /> },
                { path: "/c/:id", element: <Shell side={<ConversationsPage />} front="main" main={<ThreadPage />} /> },
                { path: "*", element: <Broken /> },
              ],
            },
          ],
        },
      ],
    },
  ]);
