import { NavLink } from "react-router";

import { nameOf, peer } from "../../chat/conversation";
import { conversationSelectors } from "../../chat/conversations";
import { isOnline } from "../../chat/presence";
import { useAppSelector, useMe } from "../../chat/state";
import { Avatar } from "../../ui/avatar";
import { briefly } from "../../ui/time";

export function ConversationLink({ id }: { id: string }) {
  const me = useMe();
  const conversation = useAppSelector((state) => conversationSelectors.selectById(state.conversations, id));
  const other = conversation && peer(conversation, me);
  const online = useAppSelector((state) => (other ? isOnline(state.presence, other.user_id, false) : false));
  const draft = useAppSelector((state) => state.outbox.drafts[id]?.content.trim());
  const typing = useAppSelector((state) => state.presence.typing[id] !== undefined);
  if (!conversation || !other) return null;

  const name = nameOf(other);
  const last = conversation.last_message;
  const unread = conversation.unread;
  return (
    <NavLink
      to={`/c/${encodeURIComponent(id)}`}
      data-conversation={id}
      data-seq={conversation.seq}
      className={({ isActive }) =>
        `flex items-center gap-3.5 rounded-2xl px-3 py-2.5 transition-colors ${isActive ? "bg-chosen" : "hover:bg-hover"}`
      }
    >
      <Avatar name={name} id={other.user_id} online={online} />
      <span className="min-w-0 flex-1">
        <span className="flex items-baseline justify-between gap-3">
          <span className={`truncate ${unread > 0 ? "font-semibold" : "font-medium"}`}>{name}</span>
          <span className="sr-only">{online ? ", online" : ", offline"}</span>
          {last && (
            <time dateTime={last.created_at} className="shrink-0 text-xs text-muted tabular-nums">
              {briefly(new Date(last.created_at), new Date())}
            </time>
          )}
        </span>
        <span className="mt-0.5 flex items-center justify-between gap-3">
          <span className={`truncate text-sm ${unread > 0 ? "text-ink" : "text-muted"}`}>
            {typing ? (
              <span className="text-accent">typing…</span>
            ) : draft ? (
              <>
                <span className="text-signal">Draft: </span>
                {draft}
              </>
            ) : last ? (
              `${last.sender_id === me ? "You: " : ""}${last.content}`
            ) : (
              "Say hello"
            )}
          </span>
          {unread > 0 && (
            <span className="grid h-5 min-w-5 shrink-0 place-items-center rounded-full bg-signal px-1.5 text-xs font-semibold text-on-signal tabular-nums">
              <span aria-hidden="true">{unread > 99 ? "99+" : unread}</span>
              <span className="sr-only">{unread} unread</span>
            </span>
          )}
        </span>
      </span>
    </NavLink>
  );
}
