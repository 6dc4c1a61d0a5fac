import { useDeferredValue, useState } from "react";
import { useNavigate } from "react-router";

import { sentence, type RequestError } from "../../api/problem";
import type { User } from "../../api/types";
import { learned } from "../../chat/conversations";
import { isOnline } from "../../chat/presence";
import { useStartConversationMutation } from "../../chat/requests";
import { useAppDispatch, useAppSelector, useMe } from "../../chat/state";
import { Icon } from "../../ui/icon";
import { Spinner } from "../../ui/spinner";
import { Trouble } from "../../ui/trouble";
import { usePeopleInfiniteQuery, type Order } from "./people-api";
import { Person } from "./person";

export function PeoplePage() {
  const me = useMe();
  const [sort, setSort] = useState<Order["sort"]>("status");
  const [text, setText] = useState("");
  const q = useDeferredValue(text.trim());
  const people = usePeopleInfiniteQuery({ sort, q });
  const presence = useAppSelector((state) => state.presence);
  const start = useStart();

  const found = people.data?.pages.flatMap((page) => page.users).filter((user) => user.id !== me) ?? [];

  return (
    <section aria-labelledby="people-heading" className="flex h-full min-h-0 flex-col">
      <div className="space-y-3 px-5 pt-5 pb-3">
        <h2 id="people-heading" className="text-xl font-semibold tracking-tight">
          People
        </h2>
        <div className="relative">
          <Icon name="search" className="pointer-events-none absolute top-1/2 left-3 size-[1.125rem] -translate-y-1/2 text-muted" />
          <input type="search" aria-label="Search people" placeholder="Search by name" className="field py-2 pl-10" value={text} onChange={(event) => setText(event.target.value)} />
        </div>
        <label className="flex items-center gap-2 text-[0.8125rem] text-muted">
          Sort by
          <select className="rounded-lg border border-line bg-raised px-2 py-1 text-ink" value={sort} onChange={(event) => setSort(event.target.value === "username" ? "username" : "status")}>
            <option value="status">Online first</option>
            <option value="username">Name</option>
          </select>
        </label>
        {start.error && (
          <p role="alert" className="text-sm text-signal">
            {sentence(start.error)}
          </p>
        )}
      </div>
      <div className="min-h-0 flex-1 overflow-y-auto px-2 pb-4">
        {people.isLoading && <Spinner label="Looking for people…" />}
        {people.isError && <Trouble onRetry={() => void people.refetch()}>{sentence(people.error as RequestError)}</Trouble>}
        {people.isSuccess && found.length === 0 && (
          <p className="px-4 py-8 text-center text-sm text-muted">
            {q === "" ? "Nobody else is here yet. Tell a friend the address." : `Nobody's name begins with “${q}”.`}
          </p>
        )}
        {found.length > 0 && (
          <ul aria-label="People">
            {found.map((user) => (
              <li key={user.id}>
                <Person user={user} online={isOnline(presence, user.id, user.status === "online")} busy={start.busy} onOpen={() => void start.open(user)} />
              </li>
            ))}
          </ul>
        )}
        {people.hasNextPage && (
          <div className="px-3 pt-3">
            <button type="button" className="button-quiet w-full" disabled={people.isFetchingNextPage} onClick={() => void people.fetchNextPage()}>
              {people.isFetchingNextPage ? "Loading…" : "Show more"}
            </button>
          </div>
        )}
      </div>
    </section>
  );
}

/** Opens the conversation with somebody; there is only one, whoever starts it. */
function useStart() {
  const dispatch = useAppDispatch();
  const navigate = useNavigate();
  const [start, { isLoading, error }] = useStartConversationMutation();
  const open = async (user: User) => {
    const { data } = await start({ user_id: user.id });
    if (!data) return;
    dispatch(learned(data));
    void navigate(`/c/${encodeURIComponent(data.id)}`);
  };
  return { open, busy: isLoading, error: error as RequestError | undefined };
}
