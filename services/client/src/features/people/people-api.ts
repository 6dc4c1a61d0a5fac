import { chatApi } from "../../api/chat-api";
import type { UserPage } from "../../api/types";

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

export const { usePeopleInfiniteQuery } = requests;
