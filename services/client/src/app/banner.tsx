import { useEffect, useState } from "react";

import { useLive } from "../chat/live";
import { useAppSelector } from "../chat/state";

/** A blink of the connection is not worth a banner. */
const GRACE = 1_500;

/** Says in plain words what is going on with the connection. */
export function Banner() {
  const { phase, attempts } = useAppSelector((state) => state.connection);
  const { wake } = useLive();
  const down = phase !== "open";
  const late = useLate(down);
  const shown = down && (late || phase === "offline");
  const words =
    phase === "offline"
      ? "You are offline. What you write is kept and will be sent."
      : attempts === 0
        ? "Connecting…"
        : "Reconnecting… Your messages are kept and will be sent.";
  return (
    <div role="status" aria-label="Connection">
      {shown && (
        <div className="flex flex-wrap items-center justify-center gap-x-4 gap-y-1 bg-warn px-4 py-2 text-center text-sm text-on-warn">
          <p className="text-balance">{words}</p>
          {phase !== "offline" && (
            <button type="button" className="rounded-lg px-2 py-0.5 font-semibold underline underline-offset-4" onClick={wake}>
              Try now
            </button>
          )}
        </div>
      )}
    </div>
  );
}

function useLate(down: boolean): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    if (!down) return undefined;
    const timer = setTimeout(() => setLate(true), GRACE);
    return () => {
      clearTimeout(timer);
      setLate(false);
    };
  }, [down]);
  return late;
}
