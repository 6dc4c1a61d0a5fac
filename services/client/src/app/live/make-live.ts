import { sessionEnded } from "../../api/chat-api";
import { refreshSession } from "../../api/refresh";
import type { NotificationFrame, ServerFrame } from "../../api/types";
import { statusChanged } from "../../chat/connection";
import { conversationSelectors } from "../../chat/conversations";
import type { Live } from "../../chat/live";
import { Reader } from "../../chat/reader";
import { Database } from "../../outbox/database";
import { Mailbox } from "../../outbox/mailbox";
import { realClock as clock } from "../../socket/clock";
import { Connection, type Surroundings } from "../../socket/connection";
import type { Store } from "../store";
import { chatFrames } from "./chat-frames";
import { noticeFrames } from "./notice-frames";

export interface Running extends Live {
  start(): void;
  stop(): void;
}

/** Both sockets of a session; they live from `start` to `stop`. */
export function makeLive(store: Store, me: string): Running {
  const database = new Database(me);
  const mailbox = new Mailbox({
    user: me,
    clock,
    database,
    locks: "locks" in navigator ? navigator.locks : null,
    dispatch: store.dispatch,
    outbox: () => store.getState().outbox,
  });
  const readUpTo = (id: string) =>
    conversationSelectors.selectById(store.getState().conversations, id)?.read_up_to ?? 0;
  const reader = new Reader(clock, readUpTo, (frame) => chat.send(frame));

  const shared = {
    clock,
    online: () => navigator.onLine,
    checkSession: refreshSession,
    onEnded: () => store.dispatch(sessionEnded()),
  };
  const onChatFrame = chatFrames({ store, clock, me, mailbox, reader, connection: () => chat });
  const chat: Connection = new Connection({
    ...shared,
    open: () => new WebSocket(address("/ws/chat")),
    onFrame: (frame) => onChatFrame(frame as ServerFrame),
    onStatus: (status) => {
      if (status.phase !== "open") mailbox.disconnected();
      store.dispatch(statusChanged(status));
    },
  } satisfies Surroundings);
  const onNoticeFrame = noticeFrames(store, isOpen);
  const notifications = new Connection({
    ...shared,
    open: () => new WebSocket(address("/ws/notifications/join")),
    onFrame: (frame) => onNoticeFrame(frame as NotificationFrame),
    onStatus: () => undefined,
  } satisfies Surroundings);

  const wake = () => {
    chat.wake();
    notifications.wake();
  };
  const sleep = () => {
    chat.sleep();
    notifications.sleep();
  };
  const seen = () => {
    if (document.visibilityState === "visible") wake();
  };

  let stopped = false;
  const start = () => {
    window.addEventListener("online", wake);
    window.addEventListener("offline", sleep);
    document.addEventListener("visibilitychange", seen);
    void mailbox.open().then(() => {
      if (stopped) return;
      chat.start();
      notifications.start();
    });
  };
  const stop = () => {
    stopped = true;
    window.removeEventListener("online", wake);
    window.removeEventListener("offline", sleep);
    document.removeEventListener("visibilitychange", seen);
    chat.stop();
    notifications.stop();
    reader.stop();
    mailbox.close();
  };
  return {
    mailbox,
    reader,
    send: (frame) => chat.send(frame),
    wake,
    start,
    stop,
    destroy: async () => {
      stop();
      await database.destroy().catch(() => undefined);
    },
  };
}

/** Whether somebody sees the conversation, or the list that shows its last message. */
const isOpen = (conversation: string) =>
  document.visibilityState === "visible" && ["/", `/c/${conversation}`].includes(location.pathname);

const address = (path: string) => `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
