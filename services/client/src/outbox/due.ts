import type { ClientFrame } from "../api/types";
import { inOrder, type Entry } from "./entry";

/** What was said on this connection; a new one starts with nothing. */
export interface UnderWay {
  /** When a message may be said again. */
  again: Record<string, number>;
  /** Accepted on this connection: the next of its conversation may leave. */
  accepted: Record<string, true>;
}

export const nothingUnderWay: UnderWay = { again: {}, accepted: {} };

/** What was not answered is said again after this. */
export const ANSWER_WAIT = 10_000;
/** Accepted but not stored: as likely a lost push as a slow database. */
export const STORED_WAIT = 20_000;

/**
 * The messages that should leave now. One at a time for each conversation, in
 * the order in which they were written; repeats keep their id, so that each
 * message is stored once.
 */
export function due(entries: Entry[], underWay: UnderWay, now: number): [ClientFrame[], UnderWay] {
  const frames: ClientFrame[] = [];
  const again = { ...underWay.again };
  const busy = new Set<string>();
  for (const entry of [...entries].sort(inOrder)) {
    if (entry.state === "refused" || busy.has(entry.conversation_id)) continue;
    const { client_id, conversation_id, content } = entry;
    const accepted = client_id in underWay.accepted;
    if (!accepted) busy.add(conversation_id);
    if ((again[client_id] ?? 0) > now) continue;
    again[client_id] = now + (accepted ? STORED_WAIT : ANSWER_WAIT);
    frames.push({ type: "message.create", client_id, conversation_id, content });
  }
  return [frames, { ...underWay, again }];
}

export const accepted = (underWay: UnderWay, clientId: string, now: number): UnderWay => ({
  again: { ...underWay.again, [clientId]: now + STORED_WAIT },
  accepted: { ...underWay.accepted, [clientId]: true },
});

/** Not now: for example the broker is away. */
export const postponed = (underWay: UnderWay, clientId: string, until: number): UnderWay => ({
  ...underWay,
  again: { ...underWay.again, [clientId]: until },
});
