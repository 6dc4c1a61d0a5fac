import { chatApi } from "../../api/chat-api";
import type { Notices } from "../../api/types";

const requests = chatApi.injectEndpoints({
  endpoints: (build) => ({
    notices: build.infiniteQuery<Notices, void, string | null>({
      infiniteQueryOptions: {
        initialPageParam: null,
        getNextPageParam: ({ next_cursor }) => next_cursor ?? undefined,
      },
      query: ({ pageParam }) => ({
        url: "/notifications",
        params: pageParam === null ? {} : { cursor: pageParam },
      }),
      providesTags: ["Notices"],
    }),
    readAllNotices: build.mutation<null, void>({
      query: () => ({ url: "/notifications/read", method: "POST", body: { all: true } }),
      invalidatesTags: ["Notices"],
    }),
    deleteNotice: build.mutation<null, string>({
      query: (id) => ({ url: `/notifications/${encodeURIComponent(id)}`, method: "DELETE" }),
      invalidatesTags: ["Notices"],
    }),
  }),
});

export const { useNoticesInfiniteQuery, useReadAllNoticesMutation, useDeleteNoticeMutation } = requests;
