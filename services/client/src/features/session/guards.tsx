import { Navigate, Outlet, useLocation } from "react-router";

import type { RequestError } from "../../api/problem";
import { useCurrentUserQuery } from "../../chat/session";
import { useAppSelector } from "../../chat/state";
import { Spinner } from "../../ui/spinner";
import { Trouble } from "../../ui/trouble";
import { returnTo } from "./return-to";

/** Pages for people who signed in; others are sent to sign in and come back. */
export function SignedIn() {
  const { status } = useAppSelector((state) => state.session);
  const { pathname, search } = useLocation();
  if (status === "in") return <Outlet />;
  if (status === "out") {
    const query = pathname === "/" ? "" : `?${new URLSearchParams({ next: pathname + search })}`;
    return <Navigate to={`/sign-in${query}`} replace />;
  }
  return <Asking />;
}

/** Signing in and up; who has a session is sent on. */
export function SignedOut() {
  const { status } = useAppSelector((state) => state.session);
  const { search } = useLocation();
  if (status === "in") return <Navigate to={returnTo(search)} replace />;
  return status === "unknown" ? <Asking /> : <Outlet />;
}

/** Asks the server who this is, once. */
function Asking() {
  const { error, refetch } = useCurrentUserQuery();
  const away = error && (error as RequestError).kind === "network";
  const broken = error && !away && (error as { status: number }).status !== 401;
  return (
    <main className="grid min-h-full place-items-center">
      {away || broken ? (
        <Trouble onRetry={() => void refetch()}>The chat cannot be reached right now.</Trouble>
      ) : (
        <Spinner label="Opening the chat…" />
      )}
    </main>
  );
}
