import { useEffect } from "react";
import { useParams } from "react-router";

import { nameOf, peer } from "../chat/conversation";
import { conversationSelectors } from "../chat/conversations";
import { useAppSelector, useMe } from "../chat/state";
import { useUnread } from "./use-unread";

const NAME = "ChatCluster";

/** The tab says who this is and how much waits. */
export function useTitle() {
  const me = useMe();
  const id = useParams()["id"];
  const unread = useUnread();
  const open = useAppSelector((state) => (id ? conversationSelectors.selectById(state.conversations, id) : undefined));
  const name = open ? `${nameOf(peer(open, me))} · ${NAME}` : NAME;
  useEffect(() => {
    document.title = unread > 0 ? `(${unread}) ${name}` : name;
    return () => {
      document.title = NAME;
    };
  }, [name, unread]);
}
