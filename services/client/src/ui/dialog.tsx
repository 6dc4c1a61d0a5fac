import { useEffect, useId, useRef, type ReactNode } from "react";

import { Icon } from "./icon";

interface Props {
  title: string;
  onClose(): void;
  children: ReactNode;
}

/** The browser's modal dialog: it keeps the focus, closes on Escape and gives the focus back. */
export function Dialog({ title, onClose, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();

  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);

  return (
    <dialog
      ref={dialog}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      className="rise w-[min(28rem,calc(100vw-2rem))] max-h-[min(40rem,calc(100dvh-2rem))] rounded-3xl border border-line bg-panel p-0 shadow-2xl"
    >
      <div className="flex items-center justify-between gap-4 px-6 pt-5 pb-2">
        <h2 id={heading} className="text-lg font-semibold tracking-tight">
          {title}
        </h2>
        <button type="button" className="icon-button -mr-2" aria-label="Close" onClick={onClose}>
          <Icon name="close" />
        </button>
      </div>
      <div className="px-6 pb-6">{children}</div>
    </dialog>
  );
}
