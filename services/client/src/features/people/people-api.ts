import { chatApi } from "../../api/chat-api";
import type { PublicUser, UserPage } from "../../api/types";
import type { AppThunk } from "../../chat/state";

export interface Order {
  sort: "username" | "status";
  q: string;
}

const requests = chatApi.injectEndpoints({
  endpoints: (build) => ({
    people: build.infiniteQuery<UserPage, Order, string | null>({
      infiniteQueryOptions: {
        initialPageParam: null,
        getNextPageParam: ({ next_cursor }) => next_cursor ?? undefined,
      },
      query: ({ queryArg: { sort, q }, pageParam }) => ({
        url: "/users",
        params: {
          sort,
          direction: "asc",
          limit: 20,
          ...(q === "" ? {} : { q }),
          ...(pageParam === null ? {} : { cursor: pageParam }),
        },
      }),
      providesTags: ["People"],
      keepUnusedDataFor: 30,
    }),
  }),
});

/** Shows changed names in the lists that are here; their order is that of the last answer. */
export function renameInLists(users: PublicUser[]): AppThunk {
  return (dispatch, getState) => {
    const names = new Map(users.map((user) => [user.id, user]));
    for (const { originalArgs } of chatApi.util.selectInvalidatedBy(getState(), ["People"])) {
      const inList = requests.util.updateQueryData("people", originalArgs as Order, ({ pages }) => {
        for (const person of pages.flatMap((page) => page.users)) {
          const user = names.get(person.id);
          if (user) Object.assign(person, { username: user.username, display_name: user.display_name });
        }
      });
      dispatch(inList);
    }
  };
}

export const { usePeopleInfiniteQuery } = requests;
