import { expect, test } from "vitest";

import { nextPane } from "./panes";

test("F6 goes round all parts of the screen, in both directions", () => {
  expect([-1, 0, 1, 2].map((here) => nextPane(here, 3, false))).toEqual([0, 1, 2, 0]);
  expect([-1, 0, 1, 2].map((here) => nextPane(here, 3, true))).toEqual([2, 2, 0, 1]);
});
