const LAST = "chat.refreshed";

export type RefreshOutcome = "refreshed" | "ended" | "unreachable";

let underWay: Promise<RefreshOutcome> | null = null;

/**
 * Gets a new access token. One request at a time in this tab and, where the
 * browser has locks, in all tabs: the refresh token may be used only once.
 */
export function refreshSession(): Promise<RefreshOutcome> {
  const asked = Date.now();
  underWay ??= exclusively(() => refresh(asked)).finally(() => {
    underWay = null;
  });
  return underWay;
}

async function exclusively(work: () => Promise<RefreshOutcome>): Promise<RefreshOutcome> {
  // Locks exist in secure contexts only.
  return "locks" in navigator ? navigator.locks.request("chat.refresh", work) : work();
}

async function refresh(asked: number): Promise<RefreshOutcome> {
  // Another tab was faster while this one waited for the lock.
  if (Number(localStorage.getItem(LAST) ?? 0) >= asked) return "refreshed";
  try {
    const answer = await fetch("/api/auth/refresh", { method: "POST" });
    if (answer.ok) {
      localStorage.setItem(LAST, String(Date.now()));
      return "refreshed";
    }
    return answer.status === 401 ? "ended" : "unreachable";
  } catch {
    return "unreachable";
  }
}
