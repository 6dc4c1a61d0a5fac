import { useEffect } from "react";
import { useParams } from "react-router";

import { nameOf, peer } from "../chat/conversation";
import { conversationSelectors } from "../chat/conversations";
import { useAppSelector, useMe } from "../chat/state";
import { useUnread } from "./use-unread";

const NAME = "ChatCluster";

/** Title and icon of the tab say who this is and how much waits. */
export function useTab() {
  const me = useMe();
  const id = useParams()["id"];
  const unread = useUnread();
  const open = useAppSelector((state) => (id ? conversationSelectors.selectById(state.conversations, id) : undefined));
  const name = open ? `${nameOf(peer(open, me))} · ${NAME}` : NAME;
  useEffect(() => {
    document.title = unread > 0 ? `(${unread}) ${name}` : name;
    const icon = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
    if (icon) icon.href = unread > 0 ? "/icon-unread.svg" : "/icon.svg";
    return () => {
      document.title = NAME;
      if (icon) icon.href = "/icon.svg";
    };
  }, [name, unread]);
}
