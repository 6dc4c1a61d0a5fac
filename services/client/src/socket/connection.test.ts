import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Connection, type ConnectionStatus } from "./connection";
import { FakeSocket, fakeClock } from "./fakes";

let sockets: FakeSocket[];
let statuses: ConnectionStatus["phase"][];
let online: boolean;
let session: "refreshed" | "ended" | "unreachable";
let checks: number;
let ended: number;
let frames: { type: string }[];
let connection: Connection;

const hello = { type: "hello" };
const last = (): FakeSocket => sockets.at(-1) ?? new FakeSocket();

beforeEach(() => {
  vi.useFakeTimers();
  [sockets, statuses, online, session, checks, ended, frames] = [[], [], true, "refreshed", 0, 0, []];
  connection = new Connection({
    clock: fakeClock(),
    open: () => {
      sockets.push(new FakeSocket());
      return last();
    },
    online: () => online,
    checkSession: async () => {
      checks += 1;
      return session;
    },
    onFrame: (frame) => frames.push(frame),
    onStatus: ({ phase }) => statuses.push(phase),
    onEnded: () => {
      ended += 1;
    },
  });
  connection.start();
});
afterEach(() => {
  connection.stop();
  vi.useRealTimers();
});

/** A connection that has lived for a while. */
function steady() {
  last().says(hello);
  vi.advanceTimersByTime(10_000);
}

test("the connection is open only after the first frame", () => {
  expect(statuses).toEqual(["connecting"]);
  expect(connection.send({ type: "typing" })).toBe(false);
  last().says(hello);
  expect(statuses.at(-1)).toBe("open");
  expect(connection.send({ type: "typing" })).toBe(true);
});

test("the pauses between tries grow from half a second to half a minute", async () => {
  const pauses: number[] = [];
  for (let attempt = 0; attempt < 9; attempt += 1) {
    const before = sockets.length;
    const died = Date.now();
    last().dies(1006);
    while (sockets.length === before) await vi.advanceTimersByTimeAsync(100);
    pauses.push(Date.now() - died);
  }
  expect(pauses).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
});

test.each([1001, 4008, 4009])("after close code %i the client comes back at once", async (code) => {
  steady();
  last().dies(code);
  await vi.advanceTimersByTimeAsync(1);
  expect(sockets).toHaveLength(2);
  expect(checks).toBe(0);
});

test("an expired token is refreshed before the client comes back at once", async () => {
  steady();
  last().dies(4001);
  await vi.advanceTimersByTimeAsync(1);
  expect(checks).toBe(1);
  expect(sockets).toHaveLength(2);
});

test("a server that greets and closes in a loop is not hammered", async () => {
  last().says(hello);
  last().dies(1001);
  await vi.advanceTimersByTimeAsync(400);
  expect(sockets).toHaveLength(1);
});

test("a revoked session is not tried again", async () => {
  steady();
  session = "ended";
  last().dies(4003);
  await vi.advanceTimersByTimeAsync(120_000);
  expect(ended).toBe(1);
  expect(sockets).toHaveLength(1);
});

test("a revoked session that cannot be checked has ended", async () => {
  steady();
  session = "unreachable";
  last().dies(4003);
  await vi.advanceTimersByTimeAsync(120_000);
  expect(ended).toBe(1);
  expect(sockets).toHaveLength(1);
});

test("who has a new session already stays after the old one is revoked", async () => {
  steady();
  last().dies(4003);
  await vi.advanceTimersByTimeAsync(1);
  expect(checks).toBe(1);
  expect(ended).toBe(0);
  expect(sockets).toHaveLength(2);
});

test("a refused upgrade leads to sign-in when the session has ended", async () => {
  session = "ended";
  last().dies(1006);
  await vi.advanceTimersByTimeAsync(500);
  expect(ended).toBe(1);
  expect(sockets).toHaveLength(1);
});

test("a refused upgrade is tried again while the session cannot be checked", async () => {
  session = "unreachable";
  last().dies(1006);
  await vi.advanceTimersByTimeAsync(500);
  expect(ended).toBe(0);
  expect(sockets).toHaveLength(2);
});

test("a server that says nothing is left", async () => {
  steady();
  await vi.advanceTimersByTimeAsync(62_500);
  expect(statuses).toContain("waiting");
  await vi.advanceTimersByTimeAsync(500);
  expect(sockets).toHaveLength(2);
});

test("heartbeats keep the connection", async () => {
  last().says(hello);
  for (let beat = 0; beat < 10; beat += 1) {
    await vi.advanceTimersByTimeAsync(25_000);
    last().says({ type: "heartbeat", positions: [] });
  }
  expect(sockets).toHaveLength(1);
});

test("an upgrade without a first frame is given up after ten seconds", async () => {
  await vi.advanceTimersByTimeAsync(10_500);
  expect(sockets).toHaveLength(2);
});

test("offline means no tries, and online means one at once", async () => {
  steady();
  online = false;
  connection.sleep();
  await vi.advanceTimersByTimeAsync(300_000);
  expect(sockets).toHaveLength(1);
  expect(statuses.at(-1)).toBe("offline");
  online = true;
  connection.wake();
  expect(sockets).toHaveLength(2);
});

test("a person who asks does not wait for the pause", () => {
  for (let attempt = 0; attempt < 3; attempt += 1) last().dies(1006);
  connection.wake();
  expect(sockets).toHaveLength(2);
});

test("going away means another connection after the delay that the server named", async () => {
  steady();
  last().says({ type: "going_away", delay_ms: 3_000 });
  await vi.advanceTimersByTimeAsync(2_900);
  expect(sockets).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(200);
  expect(sockets).toHaveLength(2);
});

test("an answer to a socket that was left is not heard", () => {
  const left = last();
  left.says(hello);
  connection.sleep();
  left.says({ type: "accepted" });
  expect(frames).toEqual([hello]);
});

test("a frame that cannot be read changes nothing", () => {
  last().says(hello);
  last().onmessage?.({ data: "{" } as MessageEvent);
  last().onmessage?.({ data: "7" } as MessageEvent);
  expect(frames).toEqual([hello]);
  expect(statuses.at(-1)).toBe("open");
});
