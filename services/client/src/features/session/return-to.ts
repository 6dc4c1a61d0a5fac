/** Where to go after signing in: a path of this client, never another place. */
export function returnTo(search: string): string {
  const next = new URLSearchParams(search).get("next") ?? "/";
  const safe = next.startsWith("/") && !next.startsWith("//") && !next.includes("\\");
  return safe && !next.startsWith("/sign-") ? next : "/";
}
