import { chatApi } from "../api/chat-api";
import type { Conversation, ConversationPage, MessagePage } from "../api/types";

type Place = { before: number } | { after: number } | { around: number } | Record<never, never>;

const requests = chatApi.injectEndpoints({
  endpoints: (build) => ({
    conversationPage: build.query<ConversationPage, { cursor?: string }>({
      query: (params) => ({ url: "/conversations", params }),
      keepUnusedDataFor: 0,
    }),
    conversation: build.query<Conversation, string>({
      query: (id) => `/conversations/${encodeURIComponent(id)}`,
      keepUnusedDataFor: 0,
    }),
    messagePage: build.query<MessagePage, { conversation: string; limit: number } & Place>({
      query: (params) => ({ url: "/messages", params }),
      keepUnusedDataFor: 0,
    }),
    startConversation: build.mutation<Conversation, { user_id: string }>({
      query: (body) => ({ url: "/conversations", method: "POST", body }),
    }),
  }),
});

export const { conversation, conversationPage, messagePage, startConversation } = requests.endpoints;
export const { useStartConversationMutation } = requests;
