import type { NoticeView } from "../../api/types";
import { nameOf } from "../../chat/conversation";
import { conversationSelectors } from "../../chat/conversations";
import { useAppSelector } from "../../chat/state";

/** Who wrote, by the name that the conversation shows; a notice knows the username alone. */
export const useSender = ({ conversation_id, sender_id, sender_username }: NoticeView): string =>
  useAppSelector((state) => {
    const known = conversationSelectors.selectById(state.conversations, conversation_id);
    const sender = known?.members.find((member) => member.user_id === sender_id);
    return sender ? nameOf(sender) : sender_username;
  });
