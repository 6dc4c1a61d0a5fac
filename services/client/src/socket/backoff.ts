const FIRST = 500;
const LONGEST = 30_000;

/** How long to wait before try number `attempt` (from 0), with jitter. */
export function pause(attempt: number, random: number): number {
  const full = Math.min(LONGEST, FIRST * 2 ** Math.min(attempt, 10));
  // At least half of it, so that a crowd spreads and nobody hammers.
  return Math.max(FIRST, full * (0.5 + random / 2));
}
