import type { Action } from "@reduxjs/toolkit";

import type { ClientFrame, Code } from "../api/types";
import type { Clock } from "../socket/clock";
import type { Database } from "./database";
import { accepted, due, nothingUnderWay, postponed } from "./due";
import type { Draft, Entry } from "./entry";
import { drafted, entrySelectors, kept, removed, restored, type outbox } from "./outbox";
import { newClientId } from "./uuid";

type Slice = ReturnType<typeof outbox.reducer>;
type News = { kept: Entry } | { removed: string } | { drafted: Draft };

export interface MailboxParts {
  user: string;
  clock: Clock;
  database: Database;
  /** Null outside secure contexts. Without, two tabs may both send: same id, one message. */
  locks: LockManager | null;
  dispatch(action: Action): void;
  outbox(): Slice;
}

/** After an error that is not final. */
const PAUSE = 1_000;
const TICK = 1_000;

/**
 * Keeps what was written until it is stored, and says it over the socket. All
 * tabs show the same outbox; one of them, the holder of the lock, sends it.
 */
export class Mailbox {
  private readonly channel: BroadcastChannel;
  private underWay = nothingUnderWay;
  private send: ((frame: ClientFrame) => boolean) | null = null;
  private release = () => {};
  private cancelTick = () => {};

  constructor(private readonly parts: MailboxParts) {
    this.channel = new BroadcastChannel(`chat.outbox.${parts.user}`);
    this.channel.onmessage = ({ data }: MessageEvent<News>) => {
      if ("kept" in data) parts.dispatch(kept(data.kept));
      else if ("removed" in data) parts.dispatch(removed(data.removed));
      else parts.dispatch(drafted(data.drafted));
      this.push();
    };
  }

  /** Call before the socket connects, so that no answer meets an empty outbox. */
  async open(): Promise<void> {
    const { database, dispatch } = this.parts;
    try {
      const [entries, drafts] = await Promise.all([database.entries(), database.drafts()]);
      dispatch(restored({ entries, drafts }));
    } catch {
      // No database in this browser mode: the outbox lives as long as the tab.
      dispatch(restored({ entries: [], drafts: [] }));
    }
  }

  close() {
    this.disconnected();
    this.channel.close();
  }

  write(draft: Draft) {
    const { client_id, conversation_id, content } = draft;
    this.keep({ client_id, conversation_id, content, written_at: this.parts.clock.now(), state: "waiting" });
    this.draft({ ...draft, content: "" });
    this.push();
  }

  draft(draft: Draft) {
    this.parts.dispatch(drafted(draft));
    this.channel.postMessage({ drafted: draft } satisfies News);
    void this.parts.database.keepDraft(draft).catch(() => undefined);
  }

  /** A refusal is final for its id, so the new try has another one. */
  retry(clientId: string) {
    const entry = this.entry(clientId);
    if (entry?.state !== "refused") return;
    this.discard(clientId);
    this.write({ client_id: newClientId(), conversation_id: entry.conversation_id, content: entry.content });
  }

  discard(clientId: string) {
    this.parts.dispatch(removed(clientId));
    this.forget(clientId);
  }

  /** After the hello of each connection. */
  connected(send: (frame: ClientFrame) => boolean) {
    this.disconnected();
    const mine = () => {
      this.underWay = nothingUnderWay;
      this.send = send;
      this.push();
    };
    const { locks, user } = this.parts;
    if (!locks) return mine();
    const abort = new AbortController();
    const held = new Promise<void>((resolve) => {
      this.release = () => {
        abort.abort();
        resolve();
      };
    });
    void locks
      .request(`chat.outbox.${user}`, { signal: abort.signal }, () => {
        if (abort.signal.aborted) return undefined;
        mine();
        return held;
      })
      .catch(() => undefined);
  }

  disconnected() {
    this.cancelTick();
    this.send = null;
    this.release();
    this.release = () => {};
  }

  accepted(clientId: string) {
    this.underWay = accepted(this.underWay, clientId, this.parts.clock.now());
    const entry = this.entry(clientId);
    if (entry?.state === "waiting") this.keep({ ...entry, state: "accepted" });
    this.push();
  }

  refused(clientId: string, code: Code, detail: string) {
    const entry = this.entry(clientId);
    if (entry) this.keep({ ...entry, state: "refused", refusal: { code, detail } });
    this.push();
  }

  /** Not final: the same message is said again. */
  failed(clientId: string) {
    this.underWay = postponed(this.underWay, clientId, this.parts.clock.now() + PAUSE);
  }

  /** The log has it. */
  stored(clientId: string) {
    if (this.entry(clientId)) this.parts.dispatch(removed(clientId));
    this.forget(clientId);
    this.push();
  }

  private push() {
    if (!this.send) return;
    const entries = entrySelectors.selectAll(this.parts.outbox());
    const [frames, underWay] = due(entries, this.underWay, this.parts.clock.now());
    this.underWay = underWay;
    for (const frame of frames) this.send(frame);
    this.cancelTick();
    if (entries.some(({ state }) => state !== "refused")) {
      this.cancelTick = this.parts.clock.later(TICK, () => this.push());
    }
  }

  private keep(entry: Entry) {
    this.parts.dispatch(kept(entry));
    this.channel.postMessage({ kept: entry } satisfies News);
    void this.parts.database.keep(entry).catch(() => undefined);
  }

  private forget(clientId: string) {
    this.channel.postMessage({ removed: clientId } satisfies News);
    void this.parts.database.remove(clientId).catch(() => undefined);
  }

  private entry(clientId: string): Entry | undefined {
    return entrySelectors.selectById(this.parts.outbox(), clientId);
  }
}
