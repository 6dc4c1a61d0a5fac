// The server takes line breaks and tabs, but no other control characters.
const CONTROLS = /(?![\n\t])\p{Cc}/gu;

/** What is sent of a text, for example one that was pasted. */
export const clean = (text: string): string => text.replaceAll("\r\n", "\n").replace(CONTROLS, "").trim();

/** Counted as the server does: an emoji is one, not two. */
export const charactersOf = (text: string): number => [...text].length;
