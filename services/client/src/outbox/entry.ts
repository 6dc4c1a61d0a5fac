import type { Code } from "../api/types";

/** A message that is not stored yet, as far as this device knows. */
export interface Entry {
  client_id: string;
  conversation_id: string;
  content: string;
  /** When it was sent here; entries leave in this order. */
  written_at: number;
  /** `accepted`: the broker has it. `refused`: it will never be stored. */
  state: "waiting" | "accepted" | "refused";
  refusal?: { code: Code; detail: string };
}

/** A message that is being written. */
export interface Draft {
  conversation_id: string;
  /** Chosen at the first keystroke. */
  client_id: string;
  content: string;
}

export const inOrder = (a: Entry, b: Entry): number =>
  a.written_at - b.written_at || (a.client_id < b.client_id ? -1 : 1);
