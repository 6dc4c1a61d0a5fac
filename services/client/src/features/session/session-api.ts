import { chatApi } from "../../api/chat-api";
import type { ChangePassword, SignedIn, SignIn, SignUp, User } from "../../api/types";
import { renamed } from "../../chat/names";

const requests = chatApi.injectEndpoints({
  endpoints: (build) => ({
    signIn: build.mutation<SignedIn, SignIn>({
      query: (body) => ({ url: "/auth/signin", method: "POST", body }),
    }),
    signUp: build.mutation<SignedIn, SignUp>({
      query: (body) => ({ url: "/auth/signup", method: "POST", body }),
    }),
    signOut: build.mutation<null, void>({
      query: () => ({ url: "/auth/signout", method: "POST" }),
    }),
    changePassword: build.mutation<SignedIn, ChangePassword>({
      query: (body) => ({ url: "/auth/password", method: "POST", body }),
      extraOptions: { newSession: true },
    }),
    rename: build.mutation<User, { display_name: string }>({
      query: (body) => ({ url: "/users/me", method: "PATCH", body }),
      invalidatesTags: ["People"],
      async onQueryStarted(_, { dispatch, queryFulfilled }) {
        const { data } = await queryFulfilled.catch(() => ({ data: null }));
        if (data) dispatch(renamed([data]));
      },
    }),
    /** One's own name as others see it. */
    profile: build.query<User, string>({
      query: (id) => `/users/${encodeURIComponent(id)}`,
      async onQueryStarted(_, { dispatch, queryFulfilled }) {
        const { data } = await queryFulfilled.catch(() => ({ data: null }));
        if (data) dispatch(renamed([data]));
      },
    }),
  }),
});

export const { useChangePasswordMutation, useProfileQuery, useSignInMutation, useSignUpMutation, useSignOutMutation, useRenameMutation } = requests;
