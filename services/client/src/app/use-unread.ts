import { conversationSelectors } from "../chat/conversations";
import { useAppSelector } from "../chat/state";

/** Unread messages in all conversations that are here. */
export const useUnread = (): number =>
  useAppSelector((state) =>
    conversationSelectors.selectAll(state.conversations).reduce((sum, { unread }) => sum + unread, 0),
  );
