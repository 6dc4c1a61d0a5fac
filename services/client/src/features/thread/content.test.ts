import { expect, test } from "vitest";

import { charactersOf, clean } from "./content";

test("a pasted text keeps lines and tabs and loses other control characters", () => {
  expect(clean(" a\r\n\tb\u0000\u001b[31m\u0085 ")).toBe("a\n\tb[31m");
});

test("nothing is left of a text of white space alone", () => {
  expect(clean(" \t\r\n\u00a0\u2003\u3000\ufeff\u0085")).toBe("");
});

test("characters are counted as the server counts them", () => {
  expect(charactersOf("a🙂王")).toBe(3);
});
