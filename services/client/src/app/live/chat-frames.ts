import type { ServerFrame } from "../../api/types";
import { conversationSelectors } from "../../chat/conversations";
import { discover, loadConversations, recount, refetch, refetchEverything } from "../../chat/load";
import { logged } from "../../chat/log";
import { typed, typingForgotten } from "../../chat/presence";
import type { Reader } from "../../chat/reader";
import type { Mailbox } from "../../outbox/mailbox";
import type { Clock } from "../../socket/clock";
import type { Connection } from "../../socket/connection";
import { initialProtocol, receive, type Effect } from "../../socket/protocol";
import type { Store } from "../store";

/** A typing sign that is not repeated goes away. */
const TYPING = 6_000;

export interface Parts {
  store: Store;
  clock: Clock;
  me: string;
  mailbox: Mailbox;
  reader: Reader;
  connection(): Connection;
}

/** Does what the frames of the chat socket mean. */
export function chatFrames(parts: Parts): (frame: ServerFrame) => void {
  const { store, clock, me, mailbox, reader } = parts;
  let protocol = initialProtocol;
  let greetings = 0;
  const typingEnds = new Map<string, () => void>();
  const discovering = new Set<string>();

  const top = (id: string) => conversationSelectors.selectById(store.getState().conversations, id)?.seq;

  const typing = (conversation: string, user: string, active: boolean) => {
    typingEnds.get(conversation)?.();
    store.dispatch(typed({ conversation, user, active }));
    if (active) typingEnds.set(conversation, clock.later(TYPING, () => typing(conversation, user, false)));
    else typingEnds.delete(conversation);
  };

  const meet = async (id: string) => {
    if (discovering.has(id)) return;
    discovering.add(id);
    await store.dispatch(discover(id));
    discovering.delete(id);
  };

  const perform = (effect: Effect) => {
    switch (effect.do) {
      case "apply": {
        const { event } = effect;
        store.dispatch(logged({ event, me }));
        if (event.type === "message.stored") typing(event.conversation_id, event.message.sender_id, false);
        if (store.getState().conversations.stale.includes(event.conversation_id)) {
          void store.dispatch(recount(event.conversation_id));
        }
        return;
      }
      case "send":
        parts.connection().send(effect.frame);
        return;
      case "stored":
        if (effect.sender === me) mailbox.stored(effect.clientId);
        return;
      case "discover":
        if (top(effect.conversation) === undefined) void meet(effect.conversation);
        return;
      case "refetch":
        void store.dispatch(refetch(effect.conversation));
        return;
      case "refetch-everything":
        void store.dispatch(refetchEverything());
    }
  };

  return (frame) => {
    const [next, effects] = receive(protocol, top, frame);
    protocol = next;
    effects.forEach(perform);
    switch (frame.type) {
      case "hello":
        greetings += 1;
        store.dispatch(typingForgotten());
        mailbox.connected((message) => parts.connection().send(message));
        reader.reconnected();
        // Conversations may have been started while nobody listened.
        if (greetings > 1) void store.dispatch(loadConversations(true));
        return;
      case "heartbeat":
        reader.flush();
        return;
      case "accepted":
        mailbox.accepted(frame.client_id);
        return;
      case "refused":
        mailbox.refused(frame.client_id, frame.code, frame.detail);
        return;
      case "error":
        if (frame.client_id) mailbox.failed(frame.client_id);
        return;
      case "typing":
        if (frame.user_id !== me) typing(frame.conversation_id, frame.user_id, frame.active);
    }
  };
}

