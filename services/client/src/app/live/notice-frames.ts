import { chatApi } from "../../api/chat-api";
import type { NotificationFrame } from "../../api/types";
import { counted, toasted } from "../../chat/notices";
import { came, greeted, went } from "../../chat/presence";
import type { Store } from "../store";

/** Does what the frames of the notification socket mean. */
export function noticeFrames(store: Store, isOpen: (conversation: string) => boolean) {
  return (frame: NotificationFrame) => {
    switch (frame.type) {
      case "hello":
        store.dispatch(greeted(frame.online));
        store.dispatch(counted(frame.unread));
        store.dispatch(chatApi.util.invalidateTags(["Notices"]));
        return;
      case "user.online":
        store.dispatch(came(frame.id));
        return;
      case "user.offline":
        store.dispatch(went(frame.id));
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
