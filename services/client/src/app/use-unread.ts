import { conversationSelectors } from "../chat/conversations";
import { useAppSelector, type State } from "../chat/state";

/**
 * Unread messages in all conversations. Those that are here know it exactly; of
 * the others the unread notices tell, one for each unread message.
 */
export function unreadIn({ conversations, notices }: Pick<State, "conversations" | "notices">): number {
  const here = conversationSelectors.selectAll(conversations).reduce((sum, { unread }) => sum + unread, 0);
  return conversations.nextCursor === null ? here : Math.max(here, notices.unread);
}

export const useUnread = (): number => useAppSelector(unreadIn);
