// For tests. The real WebSocket and the real server are covered by tests/browser.
import { vi } from "vitest";

import type { Clock } from "./clock";
import type { Socket } from "./connection";

export const fakeClock = (random = 1): Clock => ({
  now: () => Date.now(),
  random: () => random,
  later: (milliseconds, work) => {
    const timer = setTimeout(work, milliseconds);
    return () => clearTimeout(timer);
  },
});

/** A socket whose other end is the test. */
export class FakeSocket implements Socket {
  readyState = 1 as WebSocket["readyState"];
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  readonly sent: unknown[] = [];

  send = vi.fn((text: unknown) => {
    this.sent.push(JSON.parse(String(text)));
  });

  close() {
    this.readyState = 3;
  }

  says(frame: object) {
    this.onmessage?.({ data: JSON.stringify(frame) } as MessageEvent);
  }

  dies(code: number) {
    this.readyState = 3;
    this.onclose?.({ code } as CloseEvent);
  }
}
