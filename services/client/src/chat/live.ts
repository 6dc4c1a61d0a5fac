import { createContext, useContext } from "react";

import type { ClientFrame } from "../api/types";
import type { Mailbox } from "../outbox/mailbox";
import type { Reader } from "./reader";

/** What a component may do on the open sockets. */
export interface Live {
  mailbox: Mailbox;
  reader: Reader;
  send(frame: ClientFrame): boolean;
  wake(): void;
  /** Signs out this device: nothing stays in the browser. */
  destroy(): Promise<void>;
}

export const LiveContext = createContext<Live | null>(null);

export function useLive(): Live {
  const live = useContext(LiveContext);
  if (!live) throw new Error("only within a session");
  return live;
}
