import type { ReactNode } from "react";
import { NavLink, useLocation } from "react-router";

import { nameOf } from "../chat/conversation";
import { useAppSelector } from "../chat/state";
import { Avatar } from "../ui/avatar";
import { Icon, type IconName } from "../ui/icon";
import { useUnread } from "./use-unread";

interface Props {
  hiddenOnPhone: boolean;
  onNotices(): void;
  onAccount(): void;
}

const ITEM =
  "relative flex min-h-12 min-w-12 flex-col items-center justify-center gap-0.5 rounded-2xl px-2 py-1.5 text-[0.6875rem] font-medium transition-colors";
const tone = (active: boolean) => (active ? "bg-chosen text-accent" : "text-muted hover:bg-hover hover:text-ink");

export function Navigation({ hiddenOnPhone, onNotices, onAccount }: Props) {
  const { pathname } = useLocation();
  const user = useAppSelector((state) => state.session.user);
  const notices = useAppSelector((state) => state.notices.unread);
  const unread = useUnread();
  const inChats = pathname === "/" || pathname.startsWith("/c/");
  return (
    <nav data-pane tabIndex={-1} aria-label="Main" className={`shrink-0 border-line bg-canvas max-md:border-t max-md:pb-[env(safe-area-inset-bottom)] md:w-[5.25rem] md:border-r ${hiddenOnPhone ? "max-md:hidden" : ""}`}>
      <ul className="flex items-stretch justify-around gap-1 p-1.5 md:h-full md:flex-col md:justify-start md:p-2.5">
        <li className="max-md:hidden">
          <img src="/icon.svg" alt="" className="mx-auto mt-1.5 mb-4 size-9 rounded-xl" />
        </li>
        <li>
          <NavLink to="/" end className={`${ITEM} ${tone(inChats)}`}>
            <Label icon="chats" text="Chats" count={unread} />
          </NavLink>
        </li>
        <li>
          <NavLink to="/people" className={({ isActive }) => `${ITEM} ${tone(isActive)}`}>
            <Label icon="people" text="People" count={0} />
          </NavLink>
        </li>
        <li>
          <button type="button" className={`${ITEM} w-full ${tone(false)}`} onClick={onNotices}>
            <Label icon="bell" text="Notices" count={notices} />
          </button>
        </li>
        <li className="md:mt-auto">
          <button type="button" className={`${ITEM} w-full ${tone(false)}`} onClick={onAccount}>
            {user && <Avatar name={nameOf(user)} id={user.id} size="small" />}
            <span className="sr-only">Account</span>
          </button>
        </li>
      </ul>
    </nav>
  );
}

function Label({ icon, text, count }: { icon: IconName; text: string; count: number }): ReactNode {
  return (
    <>
      <Icon name={icon} className="size-[1.375rem]" />
      {text}
      {count > 0 && (
        <span className="absolute top-0.5 right-0.5 grid h-[1.125rem] min-w-[1.125rem] place-items-center rounded-full bg-signal px-1 text-[0.6875rem] font-semibold text-on-signal tabular-nums">
          <span aria-hidden="true">{count > 99 ? "99+" : count}</span>
          <span className="sr-only">, {count} unread</span>
        </span>
      )}
    </>
  );
}
