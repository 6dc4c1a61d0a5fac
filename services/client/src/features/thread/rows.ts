import type { MessageView } from "../../api/types";
import type { Entry } from "../../outbox/entry";
import { dayName } from "../../ui/time";

export type MessageState = "sending" | "sent" | "stored" | "read" | "refused" | "received";

/** A message as the list shows it. */
export interface Row {
  /** The same before and after it was stored, so that nothing flickers. */
  key: string;
  /** Nothing before it is stored. */
  id: string | null;
  clientId: string;
  seq: number | null;
  content: string;
  at: Date;
  mine: boolean;
  state: MessageState;
  refusal: Entry["refusal"];
  /** A new day begins here. */
  day: string | null;
  /** The unread line is before it. */
  firstUnread: boolean;
  /** First or last of neighbours by the same author. */
  first: boolean;
  last: boolean;
}

export interface RowsOf {
  messages: MessageView[];
  entries: Entry[];
  me: string;
  peerReadUpTo: number;
  unreadAfter: number | null;
  now: Date;
}

/** Neighbours further apart are not one group. */
const GROUP = 5 * 60_000;

type Plain = Omit<Row, "day" | "first" | "last">;

/** What is in the log, then what is on its way. */
export function rowsOf({ messages, entries, me, peerReadUpTo, unreadAfter, now }: RowsOf): Row[] {
  const first = messages.find((message) => unreadAfter !== null && message.seq > unreadAfter && message.sender_id !== me);
  const mine = new Set(messages.filter((message) => message.sender_id === me).map((message) => message.client_id));
  const plain: Plain[] = [
    ...messages.map((message) => stored(message, me, peerReadUpTo, message === first)),
    ...entries.filter((entry) => !mine.has(entry.client_id)).map(waiting),
  ];
  return plain.map((row, index) => {
    const before = plain[index - 1];
    const after = plain[index + 1];
    const newDay = !before || before.at.toDateString() !== row.at.toDateString();
    return {
      ...row,
      day: newDay ? dayName(row.at, now) : null,
      first: newDay || row.firstUnread || !together(before, row),
      last: !after || after.firstUnread || after.at.toDateString() !== row.at.toDateString() || !together(row, after),
    };
  });
}

const together = (a: Plain, b: Plain): boolean => a.mine === b.mine && b.at.getTime() - a.at.getTime() < GROUP;

function stored(message: MessageView, me: string, peerReadUpTo: number, firstUnread: boolean): Plain {
  const mine = message.sender_id === me;
  return {
    key: mine ? message.client_id : message.id,
    id: message.id,
    clientId: message.client_id,
    seq: message.seq,
    content: message.content,
    at: new Date(message.created_at),
    mine,
    state: !mine ? "received" : message.seq <= peerReadUpTo ? "read" : "stored",
    refusal: undefined,
    firstUnread,
  };
}

function waiting(entry: Entry): Plain {
  return {
    key: entry.client_id,
    id: null,
    clientId: entry.client_id,
    seq: null,
    content: entry.content,
    at: new Date(entry.written_at),
    mine: true,
    state: entry.state === "waiting" ? "sending" : entry.state === "accepted" ? "sent" : "refused",
    refusal: entry.refusal,
    firstUnread: false,
  };
}
