import type { User } from "../../api/types";
import { nameOf } from "../../chat/conversation";
import { Avatar } from "../../ui/avatar";
import { briefly } from "../../ui/time";

interface Props {
  user: User;
  online: boolean;
  busy: boolean;
  onOpen(): void;
}

export function Person({ user, online, busy, onOpen }: Props) {
  const name = nameOf(user);
  const seen = user.last_seen_at ? `, last here ${briefly(new Date(user.last_seen_at), new Date())}` : "";
  return (
    <button type="button" className="flex w-full items-center gap-3.5 rounded-2xl px-3 py-2.5 text-left transition-colors hover:bg-hover" disabled={busy} onClick={onOpen}>
      <Avatar name={name} id={user.id} online={online} />
      <span className="min-w-0 flex-1">
        <span className="block truncate font-medium">{name}</span>
        <span className="block truncate text-[0.8125rem] text-muted">
          {name === user.username ? "" : `${user.username} · `}
          {online ? "online" : `offline${seen}`}
        </span>
      </span>
    </button>
  );
}
