import { Fragment, type ReactNode } from "react";

const LINK = /\b(?:https?:\/\/|mailto:)[^\s<>"'`]+/giu;
const TRAILING = /[.,;:!?…)\]}]$/u;

interface Part {
  text: string;
  href: string | null;
}

/** Splits text into plain parts and safe links. */
export function parts(text: string): Part[] {
  const found: Part[] = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const link = trimmed(match[0]);
    const href = safe(link);
    if (!href) continue;
    if (match.index > end) found.push({ text: text.slice(end, match.index), href: null });
    found.push({ text: link, href });
    end = match.index + link.length;
  }
  if (end < text.length) found.push({ text: text.slice(end), href: null });
  return found;
}

/** Text as React nodes; markup in it stays text. */
export function linked(text: string): ReactNode {
  return parts(text).map(({ text: shown, href }, index) =>
    href === null ? (
      <Fragment key={index}>{shown}</Fragment>
    ) : (
      <a key={index} href={href} target="_blank" rel="noopener noreferrer nofollow" className="underline underline-offset-2">
        {shown}
      </a>
    ),
  );
}

/** A full stop after a link is not of the link; a bracket is, if it was opened in it. */
function trimmed(link: string): string {
  const opened = link.split("(").length;
  const closed = link.split(")").length;
  if (!TRAILING.test(link) || (link.endsWith(")") && opened >= closed)) return link;
  return trimmed(link.slice(0, -1));
}

function safe(link: string): string | null {
  try {
    const { protocol, href } = new URL(link);
    return ["http:", "https:", "mailto:"].includes(protocol) ? href : null;
  } catch {
    return null;
  }
}
