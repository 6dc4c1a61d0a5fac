import { useSyncExternalStore } from "react";

function subscribe(changed: () => void): () => void {
  window.addEventListener("focus", changed);
  window.addEventListener("blur", changed);
  document.addEventListener("visibilitychange", changed);
  return () => {
    window.removeEventListener("focus", changed);
    window.removeEventListener("blur", changed);
    document.removeEventListener("visibilitychange", changed);
  };
}

/** Whether somebody looks at this tab: only then is a message read. */
export const useLooking = (): boolean =>
  useSyncExternalStore(subscribe, () => document.visibilityState === "visible" && document.hasFocus());
