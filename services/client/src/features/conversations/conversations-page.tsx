import { useEffect, useState } from "react";
import { Link } from "react-router";

import { conversationSelectors } from "../../chat/conversations";
import { loadConversations } from "../../chat/load";
import { useAppDispatch, useAppSelector } from "../../chat/state";
import { Spinner } from "../../ui/spinner";
import { Trouble } from "../../ui/trouble";
import { ConversationLink } from "./conversation-link";

export function ConversationsPage() {
  const dispatch = useAppDispatch();
  const ids = useAppSelector((state) => conversationSelectors.selectIds(state.conversations));
  const nextCursor = useAppSelector((state) => state.conversations.nextCursor);
  const [failed, setFailed] = useState(false);
  const [loading, setLoading] = useState(false);
  const unknown = nextCursor === undefined;

  const load = async (first: boolean) => {
    setLoading(true);
    setFailed(!(await dispatch(loadConversations(first))));
    setLoading(false);
  };
  useEffect(() => {
    if (unknown) void dispatch(loadConversations(true)).then((done) => setFailed(!done));
  }, [dispatch, unknown]);

  return (
    <section aria-labelledby="chats-heading" className="flex h-full min-h-0 flex-col">
      <h2 id="chats-heading" className="px-5 pt-5 pb-3 text-xl font-semibold tracking-tight">
        Chats
      </h2>
      <div className="min-h-0 flex-1 overflow-y-auto px-2 pb-4">
        {failed && <Trouble onRetry={() => void load(unknown)}>Your conversations could not be loaded.</Trouble>}
        {unknown && !failed && ids.length === 0 && <Spinner label="Loading your conversations…" />}
        {!unknown && ids.length === 0 && <Nobody />}
        {ids.length > 0 && (
          <ul aria-label="Conversations">
            {ids.map((id) => (
              <li key={id}>
                <ConversationLink id={id} />
              </li>
            ))}
          </ul>
        )}
        {nextCursor && (
          <div className="px-3 pt-3">
            <button type="button" className="button-quiet w-full" disabled={loading} onClick={() => void load(false)}>
              {loading ? "Loading…" : "Show more"}
            </button>
          </div>
        )}
      </div>
    </section>
  );
}

function Nobody() {
  return (
    <div className="mx-3 mt-6 rounded-2xl border border-dashed border-edge px-5 py-8 text-center">
      <p className="font-medium">No conversations yet</p>
      <p className="mt-1 mb-5 text-sm text-muted">Find somebody and say hello.</p>
      <Link to="/people" className="button-main">
        Find people
      </Link>
    </div>
  );
}
