import { Link } from "react-router";

import { isOnline } from "../../chat/presence";
import { useAppSelector } from "../../chat/state";
import { Avatar } from "../../ui/avatar";
import { Icon } from "../../ui/icon";

export function ThreadHeader({ id, name }: { id: string; name: string }) {
  const online = useAppSelector((state) => isOnline(state.presence, id, false));
  return (
    <header className="flex items-center gap-3 border-b border-line bg-panel px-2 py-2.5 sm:px-5">
      <Link to="/" aria-label="Back to chats" className="icon-button md:hidden">
        <Icon name="back" />
      </Link>
      <Avatar name={name} id={id} online={online} size="small" />
      <div className="min-w-0">
        <h2 className="truncate leading-tight font-semibold tracking-tight">{name}</h2>
        <p className={`text-xs ${online ? "text-accent" : "text-muted"}`}>{online ? "online" : "offline"}</p>
      </div>
    </header>
  );
}
