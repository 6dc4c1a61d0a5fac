import type { ClientFrame } from "../api/types";
import type { Clock } from "../socket/clock";

/** Reads of one conversation are said at most this often. */
const PAUSE = 700;
/** A read that did not come back is said again after this. */
const AGAIN = 10_000;

/** Says what was seen, in as few frames as do. */
export class Reader {
  private readonly seen = new Map<string, number>();
  private readonly said = new Map<string, { upTo: number; at: number }>();
  private cancel = () => {};

  constructor(
    private readonly clock: Clock,
    private readonly readUpTo: (conversation: string) => number,
    private readonly send: (frame: ClientFrame) => boolean,
  ) {}

  saw(conversation: string, upTo: number) {
    if (upTo <= Math.max(this.seen.get(conversation) ?? 0, this.readUpTo(conversation))) return;
    this.seen.set(conversation, upTo);
    this.flush();
  }

  /** Also after a hello and with each heartbeat. */
  flush() {
    this.cancel();
    let next = Number.POSITIVE_INFINITY;
    const now = this.clock.now();
    for (const [conversation, upTo] of this.seen) {
      if (this.readUpTo(conversation) >= upTo) {
        this.seen.delete(conversation);
        continue;
      }
      const said = this.said.get(conversation);
      const wait = said ? said.at + (said.upTo < upTo ? PAUSE : AGAIN) - now : 0;
      if (wait > 0) next = Math.min(next, wait);
      else if (this.send({ type: "message.read", conversation_id: conversation, up_to: upTo })) {
        this.said.set(conversation, { upTo, at: now });
      }
    }
    if (next < Number.POSITIVE_INFINITY) this.cancel = this.clock.later(next, () => this.flush());
  }

  /** What was said on the last connection may be lost. */
  reconnected() {
    this.said.clear();
    this.flush();
  }

  stop() {
    this.cancel();
    this.seen.clear();
  }
}
