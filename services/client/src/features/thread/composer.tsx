import { useRef, type KeyboardEvent } from "react";

import { LIMITS } from "../../api/types";
import { useLive } from "../../chat/live";
import { showLatest } from "../../chat/load";
import { useAppDispatch, useAppSelector } from "../../chat/state";
import { newClientId } from "../../outbox/uuid";
import { Icon } from "../../ui/icon";
import { charactersOf, clean } from "./content";
import { useTyping } from "./use-typing";

/** Shown when only this many characters are left. */
const WARN = 200;

export function Composer({ conversation, name }: { conversation: string; name: string }) {
  const dispatch = useAppDispatch();
  const { mailbox } = useLive();
  const draft = useAppSelector((state) => state.outbox.drafts[conversation]);
  const loaded = useAppSelector((state) => state.outbox.loaded);
  const typing = useTyping(conversation);
  const area = useRef<HTMLTextAreaElement>(null);

  const text = draft?.content ?? "";
  const content = clean(text);
  const left = LIMITS.content_chars - charactersOf(content);

  const change = (next: string) => {
    mailbox.draft({ conversation_id: conversation, client_id: draft?.client_id ?? newClientId(), content: next });
    if (clean(next) === "") typing.stopped();
    else typing.typed();
  };
  const send = () => {
    area.current?.focus();
    if (!draft || content === "" || left < 0) return;
    typing.stopped();
    mailbox.write({ ...draft, content });
    void dispatch(showLatest(conversation));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    // On a touch keyboard Enter is the only way to a new line.
    if (window.matchMedia("(pointer: coarse)").matches) return;
    event.preventDefault();
    send();
  };

  return (
    <form
      className="mx-auto w-full max-w-4xl px-3 pb-[max(0.75rem,env(safe-area-inset-bottom))] sm:px-6 sm:pb-5"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div className="flex items-end gap-1.5 rounded-3xl border border-edge bg-raised p-1.5 focus-within:border-accent focus-within:outline-2 focus-within:outline-accent/35">
        <textarea
          ref={area}
          id="composer"
          aria-label={`Message to ${name}`}
          aria-describedby={left < WARN ? "composer-left" : undefined}
          aria-invalid={left < 0 || undefined}
          placeholder={`Message ${name}`}
          rows={1}
          disabled={!loaded}
          value={text}
          onChange={(event) => change(event.target.value)}
          onKeyDown={onKeyDown}
          onBlur={typing.stopped}
          className="field-sizing-content max-h-[40dvh] min-h-10 flex-1 resize-none bg-transparent px-3 py-2 leading-6 outline-none"
        />
        <button type="submit" aria-label="Send message" disabled={content === "" || left < 0} className="grid size-10 shrink-0 place-items-center rounded-full bg-accent text-on-accent transition-colors hover:bg-accent-hover disabled:bg-hover disabled:text-muted">
          <Icon name="send" />
        </button>
      </div>
      {left < WARN && (
        <p id="composer-left" role="status" className={`px-4 pt-1.5 text-xs ${left < 0 ? "font-semibold text-signal" : "text-muted"}`}>
          {left < 0 ? `${-left} characters too many` : `${left} characters left`}
        </p>
      )}
    </form>
  );
}
