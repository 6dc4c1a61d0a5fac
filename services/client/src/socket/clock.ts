/** Time and randomness are parameters, so that tests decide them. */
export interface Clock {
  now(): number;
  /** From 0 to 1. */
  random(): number;
  /** Calls back once; the result cancels it. */
  later(milliseconds: number, work: () => void): () => void;
}

export const realClock: Clock = {
  now: () => Date.now(),
  random: () => (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) / 2 ** 32,
  later: (milliseconds, work) => {
    const timer = setTimeout(work, milliseconds);
    return () => clearTimeout(timer);
  },
};
