import { chatApi } from "../../api/chat-api";
import type { NotificationFrame, PublicUser } from "../../api/types";
import { renamed } from "../../chat/names";
import { counted, toasted } from "../../chat/notices";
import { came, greeted, went } from "../../chat/presence";
import { renameInLists } from "../../features/people/people-api";
import type { Store } from "../store";

/** Does what the frames of the notification socket mean. */
export function noticeFrames(store: Store, isOpen: (conversation: string) => boolean) {
  let greetings = 0;
  const named = (users: PublicUser[]) => {
    store.dispatch(renamed(users));
    store.dispatch(renameInLists(users));
  };
  return (frame: NotificationFrame) => {
    switch (frame.type) {
      case "hello":
        greetings += 1;
        store.dispatch(greeted(frame.online));
        named(frame.online);
        // Somebody may have another name since the last socket ended.
        if (greetings > 1) store.dispatch(chatApi.util.invalidateTags(["People"]));
        store.dispatch(counted(frame.unread));
        store.dispatch(chatApi.util.invalidateTags(["Notices"]));
        return;
      case "user.online":
        store.dispatch(came(frame.users));
        named(frame.users);
        return;
      case "user.offline":
        store.dispatch(went(frame.users));
        return;
      case "user.updated":
        named(frame.users);
        return;
      case "notice":
        store.dispatch(counted(frame.unread));
        store.dispatch(chatApi.util.invalidateTags(["Notices"]));
        if (!isOpen(frame.notice.conversation_id)) store.dispatch(toasted(frame.notice));
        return;
      case "unread":
        store.dispatch(counted(frame.unread));
        store.dispatch(chatApi.util.invalidateTags(["Notices"]));
    }
  };
}
