import type { MessageView } from "../../api/types";

/**
 * Says a new message of somebody else once to screen readers. The list itself
 * is silent: scrolling mounts and unmounts rows, and history is no news.
 */
export function Announcer({ message, name }: { message: MessageView | null; name: string }) {
  return (
    <div role="status" aria-label="New message" className="sr-only">
      {message && (
        <p key={message.id}>
          {name}: {message.content}
        </p>
      )}
    </div>
  );
}
