import { expect, test } from "vitest";

import { returnTo } from "./return-to";
import { strength } from "./strength";

test("after signing in one comes back to where one was", () => {
  expect(returnTo("?next=%2Fc%2F123")).toBe("/c/123");
  expect(returnTo("")).toBe("/");
});

test("nobody is sent to another site or in a circle after signing in", () => {
  for (const next of ["//evil.example", "https://evil.example", "/\\evil.example", "/sign-in"]) {
    expect(returnTo(`?next=${encodeURIComponent(next)}`)).toBe("/");
  }
});

test("a longer and more varied password is stronger", () => {
  const scores = ["short", "aaaaaaaa", "tree house", "correct horse battery", "xK9#mQ2$vL7!pR"].map((password) => strength(password).score);
  expect(scores).toEqual([0, 1, 2, 4, 4]);
});
