import { createAction } from "@reduxjs/toolkit";
import { createApi, fetchBaseQuery, type BaseQueryFn, type FetchArgs } from "@reduxjs/toolkit/query/react";

import { asProblem, type RequestError } from "./problem";
import { refreshSession } from "./refresh";

/** The session is over: signed out here or elsewhere, or revoked. */
export const sessionEnded = createAction("session/ended");

/** An answer that takes longer does not come; in milliseconds. */
const PATIENCE = 20_000;

const request = fetchBaseQuery({ baseUrl: "/api", timeout: PATIENCE });

/** Asks; on 401 refreshes the session once and asks again. */
const withSession: BaseQueryFn<string | FetchArgs, unknown, RequestError> = async (args, api, extra) => {
  let answer = await request(args, api, extra);
  if (answer.error?.status === 401 && asProblem(answer.error.data)?.code === "unauthenticated") {
    const outcome = await refreshSession();
    if (outcome === "refreshed") answer = await request(args, api, extra);
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
