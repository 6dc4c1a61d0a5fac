import { useCallback, useEffect, useMemo, useRef } from "react";

import { LIMITS } from "../../api/types";
import { useLive } from "../../chat/live";

const INTERVAL = LIMITS.typing_interval_seconds * 1_000;

/** Tells the other one that somebody types, as often as the server takes it. */
export function useTyping(conversation: string) {
  const { send } = useLive();
  const saidAt = useRef(0);

  const say = useCallback(
    (active: boolean) => send({ type: "typing", conversation_id: conversation, active }),
    [conversation, send],
  );
  const typed = useCallback(() => {
    const now = Date.now();
    if (now - saidAt.current >= INTERVAL && say(true)) saidAt.current = now;
  }, [say]);
  const stopped = useCallback(() => {
    if (saidAt.current > 0) say(false);
    saidAt.current = 0;
  }, [say]);

  useEffect(() => stopped, [stopped]);
  return useMemo(() => ({ typed, stopped }), [typed, stopped]);
}
