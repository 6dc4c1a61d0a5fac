import { useEffect, useState } from "react";
import { Link, useParams } from "react-router";

import { nameOf, peer } from "../../chat/conversation";
import { conversationSelectors } from "../../chat/conversations";
import { closeThread, discover, openThread } from "../../chat/load";
import { seen } from "../../chat/notices";
import { useAppDispatch, useAppSelector, useMe } from "../../chat/state";
import { Spinner } from "../../ui/spinner";
import { Trouble } from "../../ui/trouble";
import { Composer } from "./composer";
import { MessageList } from "./message-list";
import { ThreadHeader } from "./thread-header";
import { Typing } from "./typing";
import { useRows } from "./use-rows";
import type { Conversation } from "../../api/types";

export function ThreadPage() {
  const id = useParams()["id"] ?? "";
  const dispatch = useAppDispatch();
  const known = useAppSelector((state) => conversationSelectors.selectById(state.conversations, id));
  const [found, setFound] = useState<"known" | "missing" | "unreachable" | null>(null);
  const [tries, setTries] = useState(0);

  useEffect(() => {
    let current = true;
    void dispatch(discover(id)).then((outcome) => {
      if (!current) return;
      setFound(outcome);
      if (outcome === "known") void dispatch(openThread(id));
    });
    dispatch(seen(id));
    return () => {
      current = false;
      dispatch(closeThread(id));
    };
  }, [dispatch, id, tries]);

  if (known) return <Open key={id} conversation={known} />;
  if (found === "unreachable") return <Trouble onRetry={() => setTries(tries + 1)}>The conversation could not be loaded.</Trouble>;
  if (found === "missing") {
    return (
      <div className="grid flex-1 place-items-center p-8 text-center">
        <div>
          <h2 className="text-lg font-semibold">There is no such conversation</h2>
          <p className="mt-1 mb-5 text-sm text-muted">The address may be wrong, or it belongs to others.</p>
          <Link to="/" className="button-main">
            Back to your chats
          </Link>
        </div>
      </div>
    );
  }
  return <Spinner label="Opening the conversation…" />;
}

function Open({ conversation }: { conversation: Conversation }) {
  const { id } = conversation;
  const dispatch = useAppDispatch();
  const other = peer(conversation, useMe());
  const name = nameOf(other);
  const thread = useAppSelector((state) => state.threads[id]);
  const rows = useRows(conversation, thread);

  return (
    <section
      aria-label={`Conversation with ${name}`}
      data-conversation={id}
      data-seq={conversation.seq}
      data-read-up-to={conversation.read_up_to}
      data-peer-read-up-to={conversation.peer_read_up_to}
      className="flex h-full min-h-0 flex-col"
    >
      <ThreadHeader id={other.user_id} name={name} />
      {thread?.status === "failed" && <Trouble onRetry={() => void dispatch(openThread(id))}>The messages could not be loaded.</Trouble>}
      {(!thread || thread.status === "loading") && (
        <div className="flex-1">
          <Spinner label="Loading messages…" />
        </div>
      )}
      {thread?.status === "ready" &&
        (rows.length > 0 ? (
          <MessageList conversation={conversation} thread={thread} rows={rows} name={name} />
        ) : (
          <div role="log" aria-label={`Messages with ${name}`} className="grid flex-1 place-items-center p-8 text-center">
            <p className="max-w-xs text-sm text-balance text-muted">
              This is the beginning of your conversation with <strong className="font-semibold text-ink">{name}</strong>. Say hello.
            </p>
          </div>
        ))}
      <Typing conversation={id} name={name} />
      <Composer conversation={id} name={name} />
    </section>
  );
}
