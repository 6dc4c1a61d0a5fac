import type { AppThunk } from "./state";
import type { MessagePage } from "../api/types";
import { cleared, conversationSelectors, learned, pageFetched, replaced } from "./conversations";
import { conversation, conversationPage, messagePage } from "./requests";
import { dropped, edgeOf, failed, fetching, filled, opened, type Asked, type Way } from "./threads";

/** Messages in a page; a screen shows about fifteen. */
const PAGE = 50;
const fresh = { subscribe: false, forceRefetch: true } as const;

/** A page of the list of conversations; the first one can be fetched again. */
export function loadConversations(first: boolean): AppThunk<Promise<boolean>> {
  return async (dispatch, getState) => {
    const cursor = first ? undefined : (getState().conversations.nextCursor ?? undefined);
    const { data } = await dispatch(conversationPage.initiate(cursor ? { cursor } : {}, fresh));
    if (!data) return false;
    const held = Object.keys(getState().threads);
    dispatch(pageFetched({ page: data.conversations, nextCursor: data.next_cursor ?? null, first, held }));
    return true;
  };
}

/** A conversation that an event or the address bar named. */
export function discover(id: string): AppThunk<Promise<"known" | "missing" | "unreachable">> {
  return async (dispatch, getState) => {
    if (conversationSelectors.selectById(getState().conversations, id)) return "known";
    const { data, error } = await dispatch(conversation.initiate(id, fresh));
    if (data) dispatch(learned(data));
    if (data) return "known";
    const status = error && "kind" in error && error.kind === "problem" ? error.status : 0;
    return status === 404 || status === 400 ? "missing" : "unreachable";
  };
}

/** Events are missing and cannot be had: snapshot and messages are fetched anew. */
export function refetch(id: string): AppThunk<Promise<void>> {
  return async (dispatch, getState) => {
    const { data } = await dispatch(conversation.initiate(id, fresh));
    if (!data) return;
    const thread = getState().threads[id];
    dispatch(replaced(data));
    if (!thread) return;
    dispatch(opened({ id, unreadAfter: thread.unreadAfter, keep: false }));
    await dispatch(fill(id, { way: "open" }, {}));
  };
}

/** Another database, or too much was missed: nothing known counts any more. */
export function refetchEverything(): AppThunk<Promise<void>> {
  return async (dispatch, getState) => {
    const open = Object.keys(getState().threads);
    dispatch(cleared());
    await dispatch(loadConversations(true));
    for (const id of open) await dispatch(refetch(id));
  };
}

/** The snapshot alone, when only the number of unread messages is in doubt. */
export function recount(id: string): AppThunk<Promise<void>> {
  return async (dispatch, getState) => {
    for (let tries = 0; tries < 3; tries += 1) {
      const { data } = await dispatch(conversation.initiate(id, fresh));
      const known = conversationSelectors.selectById(getState().conversations, id);
      if (!data || !known) return;
      // One of another moment does not fit what the log has told since.
      if (data.seq === known.seq) {
        dispatch(replaced(data));
        return;
      }
    }
  };
}

/** Shows the first unread message, or the end of the log. */
export function openThread(id: string): AppThunk<Promise<void>> {
  return async (dispatch, getState) => {
    const known = conversationSelectors.selectById(getState().conversations, id);
    if (!known) return;
    const thread = getState().threads[id];
    const unreadAfter = known.unread > 0 ? known.read_up_to : null;
    const first = thread?.messages[0]?.seq ?? Number.POSITIVE_INFINITY;
    const keep =
      thread?.status === "ready" &&
      !thread.hasAfter &&
      (unreadAfter === null || !thread.hasBefore || first <= unreadAfter);
    dispatch(opened({ id, unreadAfter, keep }));
    if (!keep) await dispatch(fill(id, { way: "open" }, unreadAfter === null ? {} : { around: unreadAfter + 1 }));
  };
}

/** Leaves the place in the history for the end of the log. */
export function showLatest(id: string): AppThunk<Promise<void>> {
  return async (dispatch, getState) => {
    if (!getState().threads[id]?.hasAfter) return;
    dispatch(opened({ id, unreadAfter: null, keep: false }));
    await dispatch(fill(id, { way: "open" }, {}));
  };
}

export function showFirstUnread(id: string): AppThunk<Promise<void>> {
  return async (dispatch, getState) => {
    const thread = getState().threads[id];
    if (!thread || thread.unreadAfter === null) return;
    const { unreadAfter } = thread;
    dispatch(opened({ id, unreadAfter, keep: false }));
    await dispatch(fill(id, { way: "open" }, { around: unreadAfter + 1 }));
  };
}

/** The next page. One that did not come is asked for `again` only: scrolling does not hammer. */
export function loadMore(id: string, way: Way, again = false): AppThunk<Promise<void>> {
  return async (dispatch, getState) => {
    const thread = getState().threads[id];
    if (!thread || thread.status !== "ready" || thread.fetching) return;
    if (way === "before" ? !thread.hasBefore : !thread.hasAfter) return;
    if (thread.stalled?.way === way && !again) return;
    const edge = edgeOf(thread, way);
    dispatch(fetching({ id, way }));
    await dispatch(fill(id, { way, edge }, way === "before" ? { before: edge } : { after: edge }));
  };
}

/** Closes what is not looked at, so that its snapshot may be replaced again. */
export function closeThread(id: string): AppThunk {
  return (dispatch, getState) => {
    if (getState().threads[id]?.hasAfter) dispatch(dropped(id));
  };
}

function fill(
  id: string,
  asked: Asked,
  place: { before?: number; after?: number; around?: number },
): AppThunk<Promise<void>> {
  return async (dispatch) => {
    const answer = await dispatch(messagePage.initiate({ conversation: id, limit: PAGE, ...place }, fresh));
    const page: MessagePage | undefined = answer.data;
    if (page) dispatch(filled({ id, asked, page }));
    else dispatch(failed({ id, asked }));
  };
}
