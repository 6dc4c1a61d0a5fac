import { useEffect, useState } from "react";
import { Outlet } from "react-router";

import { LiveContext } from "../chat/live";
import { useMe } from "../chat/state";
import { makeLive } from "./live/make-live";
import type { Store } from "./store";

/** The sockets of a session: opened once, whatever page is shown. */
export function WithLive({ store }: { store: Store }) {
  const me = useMe();
  return <Session key={me} store={store} me={me} />;
}

function Session({ store, me }: { store: Store; me: string }) {
  const [live] = useState(() => makeLive(store, me));
  useEffect(() => {
    live.start();
    return () => live.stop();
  }, [live]);
  return (
    <LiveContext value={live}>
      <Outlet />
    </LiveContext>
  );
}
