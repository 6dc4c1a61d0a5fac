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

/**
 * Makes a request that brings other tokens and ends the ones of today. Whoever
 * wants to refresh meanwhile waits, and then has the new ones.
 */
export function withNewTokens<T>(request: () => Promise<T>, brought: (answer: T) => boolean): Promise<T> {
  return exclusively(async () => {
    const answer = await request();
    if (brought(answer)) noteTokens();
    return answer;
  });
}

let turn: Promise<unknown> = Promise.resolve();

async function exclusively<T>(work: () => Promise<T>): Promise<T> {
  if ("locks" in navigator) return navigator.locks.request("chat.refresh", work);
  // Locks exist in secure contexts only; elsewhere each tab keeps its own order.
  const mine = turn.then(work, work);
  turn = mine;
  return mine;
}

function noteTokens() {
  localStorage.setItem(LAST, String(Date.now()));
}

async function refresh(asked: number): Promise<RefreshOutcome> {
  // Another tab was faster while this one waited for the lock.
  if (Number(localStorage.getItem(LAST) ?? 0) >= asked) return "refreshed";
  try {
    const answer = await fetch("/api/auth/refresh", { method: "POST" });
    if (answer.ok) {
      noteTokens();
      return "refreshed";
    }
    return answer.status === 401 ? "ended" : "unreachable";
  } catch {
    return "unreachable";
  }
}
