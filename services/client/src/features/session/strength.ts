import { LIMITS } from "../../api/types";

export interface Strength {
  /** From 0 to 4. */
  score: number;
  words: string;
}

const WORDS = ["Too short", "Weak", "Fair", "Good", "Strong"];

/** A hint, not a rule: length counts most, then variety; repeats count little. */
export function strength(password: string): Strength {
  const characters = [...password];
  if (characters.length < LIMITS.password_chars_min) return { score: 0, words: WORDS[0] ?? "" };
  const kinds = [/\p{Ll}/u, /\p{Lu}/u, /\p{N}/u, /[^\p{L}\p{N}]/u].filter((kind) => kind.test(password)).length;
  const variety = new Set(characters).size;
  const points = Math.min(characters.length, variety * 2) + kinds * 2;
  const score = points >= 22 ? 4 : points >= 17 ? 3 : points >= 13 ? 2 : 1;
  return { score, words: WORDS[score] ?? "" };
}
