import type { ClientFrame, LogEvent, Member, Position, ServerFrame } from "../api/types";

/** What the protocol remembers beside the conversations' positions. */
export interface Protocol {
  epoch: string | null;
  /** Holes that are being asked for. */
  resuming: Record<string, number>;
  /** The newest entry that was heard of, applied or not. */
  heard: Record<string, number>;
}

/** What has to happen, in this order. */
export type Effect =
  | { do: "apply"; event: LogEvent }
  | { do: "send"; frame: ClientFrame }
  | { do: "discover"; conversation: string; members?: Member[] }
  | { do: "refetch"; conversation: string }
  | { do: "refetch-everything" }
  | { do: "stored"; clientId: string; sender: string };

export const initialProtocol: Protocol = { epoch: null, resuming: {}, heard: {} };

/**
 * What a frame means. `top` is the newest entry applied to a conversation, none
 * if the conversation is unknown. An entry is applied only directly after it;
 * anything else is a duplicate or a hole.
 */
export function receive(
  protocol: Protocol,
  top: (conversation: string) => number | undefined,
  frame: ServerFrame,
): [Protocol, Effect[]] {
  switch (frame.type) {
    case "hello": {
      const restored = protocol.epoch !== null && protocol.epoch !== frame.epoch;
      const greeted: Protocol = { epoch: frame.epoch, resuming: {}, heard: {} };
      if (restored) return [greeted, [{ do: "refetch-everything" }]];
      const older = frame.positions.filter(({ conversation_id }) => top(conversation_id) === undefined);
      const heard = Object.fromEntries(older.map(({ conversation_id, seq }) => [conversation_id, seq]));
      return behind({ ...greeted, heard }, top, frame.positions);
    }
    case "heartbeat": {
      // Asks again, also where an answer is due: by now it is lost.
      const [next, effects] = behind({ ...protocol, resuming: {} }, top, frame.positions);
      // What is not known here began or went on since the greeting, and its push was lost. The
      // rest is further down the list than anybody has looked.
      const met = frame.positions.filter(
        ({ conversation_id: id, seq }) => top(id) === undefined && seq > (protocol.heard[id] ?? -1),
      );
      return [next, [...effects, ...met.map(({ conversation_id }): Effect => ({ do: "discover", conversation: conversation_id }))]];
    }
    case "message.stored":
    case "message.read":
      return entry(protocol, top, frame);
    case "resumed":
      return resumed(protocol, top, frame.conversation_id, frame.events, frame.complete);
    case "resync": {
      const resuming = without(protocol.resuming, frame.conversation_id);
      return [{ ...protocol, resuming }, [{ do: "refetch", conversation: frame.conversation_id }]];
    }
    case "conversation.created":
      return [protocol, [{ do: "discover", conversation: frame.conversation_id, members: frame.members }]];
    default:
      return [protocol, []];
  }
}

function behind(
  protocol: Protocol,
  top: (conversation: string) => number | undefined,
  positions: Position[],
): [Protocol, Effect[]] {
  const resuming = { ...protocol.resuming };
  const effects: Effect[] = [];
  for (const { conversation_id, seq } of positions) {
    const known = top(conversation_id);
    if (known === undefined || known >= seq) continue;
    resuming[conversation_id] = known;
    effects.push(resume(conversation_id, known));
  }
  return [{ ...protocol, resuming }, effects];
}

function entry(
  protocol: Protocol,
  top: (conversation: string) => number | undefined,
  event: LogEvent,
): [Protocol, Effect[]] {
  const id = event.conversation_id;
  const effects = stored(event);
  const known = top(id);
  if (known === undefined) return [protocol, [...effects, { do: "discover", conversation: id }]];
  if (event.seq <= known) return [protocol, effects];
  const heard = { ...protocol.heard, [id]: Math.max(protocol.heard[id] ?? 0, event.seq) };
  if (event.seq === known + 1) return [{ ...protocol, heard }, [{ do: "apply", event }, ...effects]];
  if (id in protocol.resuming) return [{ ...protocol, heard }, effects];
  const resuming = { ...protocol.resuming, [id]: known };
  return [{ ...protocol, heard, resuming }, [...effects, resume(id, known)]];
}

function resumed(
  protocol: Protocol,
  top: (conversation: string) => number | undefined,
  id: string,
  events: LogEvent[],
  complete: boolean,
): [Protocol, Effect[]] {
  const resuming = without(protocol.resuming, id);
  const start = top(id);
  if (start === undefined) return [{ ...protocol, resuming }, []];
  let known = start;
  const effects: Effect[] = [];
  for (const event of events) {
    if (event.seq > known + 1) return [{ ...protocol, resuming }, [...effects, { do: "refetch", conversation: id }]];
    if (event.seq === known + 1) {
      effects.push({ do: "apply", event });
      known = event.seq;
    }
    effects.push(...stored(event));
  }
  const more = known > start && (!complete || (protocol.heard[id] ?? 0) > known);
  if (!more) return [{ ...protocol, resuming }, effects];
  // What was pushed behind the hole was not applied, so it is asked for as well.
  return [{ ...protocol, resuming: { ...resuming, [id]: known } }, [...effects, resume(id, known)]];
}

/** The outbox wants to know it even of an entry that is not applied. */
const stored = (event: LogEvent): Effect[] =>
  event.type === "message.stored"
    ? [{ do: "stored", clientId: event.message.client_id, sender: event.message.sender_id }]
    : [];

const resume = (conversation_id: string, after: number): Effect => ({
  do: "send",
  frame: { type: "resume", conversation_id, after },
});

function without(record: Record<string, number>, key: string): Record<string, number> {
  return Object.fromEntries(Object.entries(record).filter(([other]) => other !== key));
}
