import type { Conversation, LogEvent, Member } from "../api/types";

/**
 * The conversation after the entry, as a fresh snapshot would show it. Null when
 * that cannot be known from here: then the snapshot has to be fetched again.
 */
export function after(conversation: Conversation, event: LogEvent, me: string): Conversation | null {
  const next = { ...conversation, seq: event.seq };
  if (event.type === "message.stored") {
    const { message } = event;
    next.last_message = message;
    next.last_activity_at = later(conversation.last_activity_at, message.created_at);
    if (message.sender_id !== me) next.unread += 1;
    return next;
  }
  if (event.user_id !== me) {
    next.peer_read_up_to = Math.max(conversation.peer_read_up_to, event.up_to);
    return next;
  }
  next.read_up_to = Math.max(conversation.read_up_to, event.up_to);
  const newest = conversation.last_message?.seq ?? 0;
  if (event.up_to >= newest || conversation.unread === 0) {
    next.unread = 0;
    return next;
  }
  // Some messages are left, and only the server knows how many.
  return event.up_to > conversation.read_up_to ? null : next;
}

export function peer(conversation: Conversation, me: string | undefined): Member {
  const other = conversation.members.find((member) => member.user_id !== me) ?? conversation.members[0];
  return other ?? { user_id: "", username: "", display_name: "" };
}

export const nameOf = (person: { display_name: string; username: string }): string =>
  person.display_name || person.username || "Somebody";

const later = (a: string, b: string): string => (Date.parse(a) >= Date.parse(b) ? a : b);
