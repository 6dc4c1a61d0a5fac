import type { Problem } from "./types";

/** What RTK Query hands to a component when a request failed. */
export type RequestError =
  | { kind: "problem"; status: number; problem: Problem; retryAfter: number | null }
  | { kind: "network" };

export const asProblem = (body: unknown): Problem | null =>
  typeof body === "object" && body !== null && "code" in body && "detail" in body ? (body as Problem) : null;

/** One sentence for people. */
export function sentence(error: RequestError): string {
  if (error.kind === "network") return "The chat cannot be reached. Check your connection and try again.";
  const { problem, retryAfter, status } = error;
  if (problem.code === "throttled" && retryAfter !== null) {
    return `Too many tries. Wait ${retryAfter} seconds, then try again.`;
  }
  if (problem.errors?.length) return problem.errors.length === 1 ? "Check the marked field." : "Check the marked fields.";
  if (status >= 500) return "The chat has a problem right now. Try again in a moment.";
  return problem.title;
}

/** The messages that belong to the fields of a form. */
export function fieldErrors(error: RequestError | undefined): Record<string, string> {
  if (error?.kind !== "problem") return {};
  return Object.fromEntries((error.problem.errors ?? []).map(({ field, message }) => [field, message]));
}
