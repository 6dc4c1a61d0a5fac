import { createAction } from "@reduxjs/toolkit";
import { createApi, fetchBaseQuery, type BaseQueryFn, type FetchArgs } from "@reduxjs/toolkit/query/react";

import { asProblem, type RequestError } from "./problem";
import { refreshSession, withNewTokens } from "./refresh";

/** The session is over: signed out here or elsewhere, or revoked. */
export const sessionEnded = createAction("session/ended");

/** An answer that takes longer does not come; in milliseconds. */
const PATIENCE = 20_000;

const request = fetchBaseQuery({ baseUrl: "/api", timeout: PATIENCE });

interface Options {
  /** The answer ends the session and opens another one. */
  newSession?: boolean;
}

/** Asks; on 401 refreshes the session once and asks again. */
const withSession: BaseQueryFn<string | FetchArgs, unknown, RequestError, Options> = async (args, api, extra) => {
  const ask = async () => request(args, api, extra);
  const once = () => (extra?.newSession ? withNewTokens(ask, (answer) => !answer.error) : ask());
  let answer = await once();
  if (answer.error?.status === 401 && asProblem(answer.error.data)?.code === "unauthenticated") {
    const outcome = await refreshSession();
    if (outcome === "refreshed") answer = await once();
    if (outcome === "ended") api.dispatch(sessionEnded());
  }
  if (!answer.error) return { data: answer.data };
  const problem = asProblem(answer.error.data);
  const status = answer.error.status;
  if (!problem || typeof status !== "number") return { error: { kind: "network" } };
  const retryAfter = answer.meta?.response?.headers.get("retry-after");
  return { error: { kind: "problem", status, problem, retryAfter: retryAfter ? Number(retryAfter) : null } };
};

/** The one client of the REST surface; every feature adds its own requests. */
export const chatApi = createApi({
  reducerPath: "api",
  baseQuery: withSession,
  tagTypes: ["People", "Notices"],
  endpoints: () => ({}),
});
