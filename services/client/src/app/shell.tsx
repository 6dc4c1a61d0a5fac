import { useEffect, useState, type ReactNode } from "react";

import { NoticesDialog } from "../features/notifications/notices-dialog";
import { Toasts } from "../features/notifications/toasts";
import { AccountDialog } from "../features/session/account-dialog";
import { Banner } from "./banner";
import { Navigation } from "./navigation";
import { enter, onPaneKey } from "./panes";
import { useTab } from "./use-tab";

interface Props {
  side: ReactNode;
  main: ReactNode;
  /** Which of the two a phone shows. */
  front: "side" | "main";
}

/** A rail, a list and what was chosen from it; a phone shows one at a time. */
export function Shell({ side, main, front }: Props) {
  const [dialog, setDialog] = useState<"notices" | "account" | null>(null);
  useTab();
  useEffect(() => {
    document.addEventListener("keydown", onPaneKey);
    return () => document.removeEventListener("keydown", onPaneKey);
  }, []);
  const close = () => setDialog(null);
  return (
    <div className="flex h-full flex-col">
      <a
        href="#content"
        className="sr-only focus:not-sr-only focus:fixed focus:top-3 focus:left-3 focus:z-30 focus:rounded-xl focus:bg-accent focus:px-4 focus:py-2.5 focus:text-sm focus:font-semibold focus:text-on-accent"
        onClick={(event) => {
          event.preventDefault();
          const content = document.getElementById("content");
          if (content) enter(content);
        }}
      >
        Skip to content
      </a>
      <Banner />
      <div className="flex min-h-0 flex-1 flex-col-reverse md:flex-row">
        <Navigation hiddenOnPhone={front === "main"} onNotices={() => setDialog("notices")} onAccount={() => setDialog("account")} />
        <main className="flex min-h-0 min-w-0 flex-1">
          <h1 className="sr-only">ChatCluster</h1>
          <div data-pane tabIndex={-1} id={front === "side" ? "content" : undefined} className={`min-h-0 min-w-0 border-line bg-panel max-md:flex-1 md:w-80 md:shrink-0 md:border-r lg:w-[22rem] ${front === "main" ? "max-md:hidden" : ""}`}>
            {side}
          </div>
          <div data-pane tabIndex={-1} id={front === "main" ? "content" : undefined} className={`min-h-0 min-w-0 flex-1 ${front === "side" ? "max-md:hidden" : ""}`}>
            {main}
          </div>
        </main>
      </div>
      <Toasts />
      {dialog === "notices" && <NoticesDialog onClose={close} />}
      {dialog === "account" && <AccountDialog onClose={close} />}
    </div>
  );
}
