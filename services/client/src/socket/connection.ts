import { CLOSE } from "../api/types";
import { pause } from "./backoff";
import type { Clock } from "./clock";

export interface ConnectionStatus {
  phase: "idle" | "connecting" | "open" | "waiting" | "offline";
  /** Tries since the connection was last open. */
  attempts: number;
}

/** The part of `WebSocket` that is used. */
export type Socket = Pick<WebSocket, "readyState" | "send" | "close"> & {
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
};

export interface Surroundings {
  clock: Clock;
  open(): Socket;
  online(): boolean;
  /** Makes sure of a valid access token. */
  checkSession(): Promise<"refreshed" | "ended" | "unreachable">;
  onFrame(frame: { type: string }): void;
  onStatus(status: ConnectionStatus): void;
  onEnded(): void;
}

/** No first frame within this: the network swallowed the upgrade. */
const HELLO_WAIT = 10_000;
/** The server speaks at least every 25 s; two and a half of these is silence. */
const SILENCE = 62_500;
/** A connection that lived shorter does not earn an immediate retry. */
const STEADY = 5_000;
const OPEN = 1;
/** Ours, for a socket that we give up. */
const GIVEN_UP = 4_900;

/**
 * Keeps one socket open: back-off with jitter, close codes, silence, the
 * browser's online and offline. What the frames mean is none of its business.
 */
export class Connection {
  private socket: Socket | null = null;
  private attempts = 0;
  private openedAt: number | null = null;
  private running = false;
  private cancelTimer = () => {};
  private goingAwayAfter: number | null = null;

  constructor(private readonly around: Surroundings) {}

  start() {
    if (this.running) return;
    this.running = true;
    this.attempts = 0;
    this.connect();
  }

  stop() {
    this.running = false;
    this.abandon();
    this.tell("idle");
  }

  /** True if the frame left. A frame that did not is sent after the next hello. */
  send(frame: object): boolean {
    if (this.openedAt === null || this.socket?.readyState !== OPEN) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  /** The network came back, or a person asked: try now. */
  wake() {
    if (!this.running || this.openedAt !== null) return;
    this.attempts = 0;
    this.abandon();
    this.connect();
  }

  /** The browser says that there is no network. */
  sleep() {
    if (!this.running) return;
    this.abandon();
    this.tell("offline");
  }

  private connect() {
    if (!this.around.online()) {
      this.tell("offline");
      return;
    }
    this.tell("connecting");
    const socket = this.around.open();
    this.socket = socket;
    this.goingAwayAfter = null;
    this.expect(HELLO_WAIT);
    socket.onmessage = (event) => this.heard(event);
    socket.onclose = (event) => this.closed(event.code);
  }

  private heard(event: MessageEvent) {
    const frame: unknown = typeof event.data === "string" ? parse(event.data) : null;
    if (!isFrame(frame)) return;
    this.expect(SILENCE);
    if (this.openedAt === null) {
      this.openedAt = this.around.clock.now();
      this.attempts = 0;
      this.tell("open");
    }
    if (frame.type === "going_away") {
      const delay = "delay_ms" in frame && typeof frame.delay_ms === "number" ? frame.delay_ms : 0;
      this.goingAwayAfter = delay;
      this.cancelTimer();
      this.cancelTimer = this.around.clock.later(delay, () => this.giveUp());
      return;
    }
    this.around.onFrame(frame);
  }

  private closed(code: number) {
    const lived = this.openedAt === null ? 0 : this.around.clock.now() - this.openedAt;
    const greeted = this.openedAt !== null;
    const leaving = this.goingAwayAfter !== null;
    this.abandon();
    if (!this.running) return;
    if (!this.around.online()) {
      this.tell("offline");
      return;
    }
    const soon =
      leaving ||
      code === CLOSE.going_away ||
      code === CLOSE.expired ||
      code === CLOSE.revoked ||
      code === CLOSE.slow_reader ||
      code === CLOSE.fan_out_lost;
    const wait = soon && lived >= STEADY ? 0 : pause(this.attempts, this.around.clock.random());
    this.attempts += 1;
    this.tell("waiting");
    // An upgrade that is refused looks like any failure: ask whether the session is alive.
    const check = !greeted || code === CLOSE.expired || code === CLOSE.revoked;
    // Whose session was revoked stays only with a new one, as after a change of the password.
    const doubted = code === CLOSE.revoked;
    this.cancelTimer = this.around.clock.later(wait, () => void this.again(check, doubted));
  }

  private async again(check: boolean, doubted: boolean) {
    if (check) {
      const attempts = this.attempts;
      const outcome = await this.around.checkSession();
      // Woken, stopped or offline meanwhile.
      if (!this.running || this.socket !== null || this.attempts !== attempts) return;
      if (outcome === "ended" || (doubted && outcome === "unreachable")) {
        this.running = false;
        this.tell("idle");
        this.around.onEnded();
        return;
      }
    }
    this.connect();
  }

  private giveUp() {
    const socket = this.socket;
    if (!socket) return;
    // The close event of a dead network may take minutes.
    const lost = () => this.closed(GIVEN_UP);
    socket.onclose = null;
    socket.close();
    lost();
  }

  private expect(within: number) {
    if (this.goingAwayAfter !== null) return;
    this.cancelTimer();
    this.cancelTimer = this.around.clock.later(within, () => this.giveUp());
  }

  private abandon() {
    this.cancelTimer();
    this.openedAt = null;
    this.goingAwayAfter = null;
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
  }

  private tell(phase: ConnectionStatus["phase"]) {
    this.around.onStatus({ phase, attempts: this.attempts });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A frame of a newer server is passed over, the log fills what it said.
    return null;
  }
}

const isFrame = (value: unknown): value is { type: string } =>
  typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
