import { expect, test } from "vitest";

import { uuidV7 } from "./uuid";

test("an id is a UUID of version 7", () => {
  const id = uuidV7(Date.UTC(2026, 0, 1), new Uint8Array(10).fill(255));
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test("ids are ordered by time", () => {
  const early = uuidV7(1_700_000_000_000, new Uint8Array(10).fill(255));
  const late = uuidV7(1_700_000_000_001, new Uint8Array(10));
  expect(early < late).toBe(true);
});
