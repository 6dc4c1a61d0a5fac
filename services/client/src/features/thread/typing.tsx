import { useAppSelector } from "../../chat/state";

/** Always there, so that nothing moves when somebody begins to type. */
export function Typing({ conversation, name }: { conversation: string; name: string }) {
  const active = useAppSelector((state) => state.presence.typing[conversation] !== undefined);
  return (
    <div role="status" aria-label="Typing" className="mx-auto flex h-6 w-full max-w-4xl items-center gap-2 px-5 text-xs text-muted sm:px-8">
      {active && (
        <>
          <span className="flex gap-0.5" aria-hidden="true">
            <span className="typing-dot size-1.5 rounded-full bg-accent" />
            <span className="typing-dot size-1.5 rounded-full bg-accent" />
            <span className="typing-dot size-1.5 rounded-full bg-accent" />
          </span>
          {name} is typing…
        </>
      )}
    </div>
  );
}
