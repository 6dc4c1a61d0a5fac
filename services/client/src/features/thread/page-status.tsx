import { useEffect } from "react";

import { loadMore } from "../../chat/load";
import { useAppDispatch } from "../../chat/state";
import type { Thread, Way } from "../../chat/threads";
import { pause } from "../../socket/backoff";
import { realClock } from "../../socket/clock";

const WORDS = {
  before: { loading: "Loading earlier messages…", stalled: "Earlier messages could not be loaded." },
  after: { loading: "Loading later messages…", stalled: "Later messages could not be loaded." },
};

/** Says that a page is on its way, or that it did not come: then it is asked for again. */
export function PageStatus({ id, thread, way }: { id: string; thread: Thread; way: Way }) {
  const tries = thread.stalled?.way === way ? thread.stalled.tries : 0;
  const loading = thread.fetching === way;
  return (
    <div role="status" className="text-xs">
      {(loading || tries > 0) && (
        <div className="flex items-center gap-2 rounded-full border border-line bg-panel px-3 py-1 text-muted shadow-sm">
          {loading ? WORDS[way].loading : WORDS[way].stalled}
          {!loading && <TryAgain id={id} way={way} tries={tries} />}
        </div>
      )}
    </div>
  );
}

function TryAgain({ id, way, tries }: { id: string; way: Way; tries: number }) {
  const dispatch = useAppDispatch();
  useEffect(() => {
    const again = () => void dispatch(loadMore(id, way, true));
    const cancel = realClock.later(pause(tries, realClock.random()), again);
    window.addEventListener("online", again);
    return () => {
      cancel();
      window.removeEventListener("online", again);
    };
  }, [dispatch, id, tries, way]);
  return (
    <button type="button" className="pointer-events-auto min-h-6 rounded-md px-1 font-semibold text-accent hover:underline" onClick={() => void dispatch(loadMore(id, way, true))}>
      Try now
    </button>
  );
}
