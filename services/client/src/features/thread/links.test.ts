import { expect, test } from "vitest";

import { parts } from "./links";

const links = (text: string) => parts(text).flatMap(({ text: shown, href }) => (href ? [shown] : []));

test("addresses become links without the punctuation around them", () => {
  expect(links("See https://example.org/a_(b), and (http://example.org/x).")).toEqual([
    "https://example.org/a_(b)",
    "http://example.org/x",
  ]);
  expect(links("mailto:me@example.org!")).toEqual(["mailto:me@example.org"]);
});

test("nothing of the text is lost or changed", () => {
  for (const text of ["", "plain", "https://a.b c https://d.e", "x https://", "<b>https://a.b</b>"]) {
    expect(parts(text).map((part) => part.text).join("")).toBe(text);
  }
});

test("only http, https and mailto are links", () => {
  expect(links("javascript:alert(1) data:text/html,x ftp://a.b vbscript:x file:///etc")).toEqual([]);
});
