// For tests: everything of a client but its sockets, its screen and its disk.
import { vi } from "vitest";

import type { ClientFrame, NotificationFrame, ServerFrame } from "../../api/types";
import { conversationSelectors } from "../../chat/conversations";
import { loadConversations, openThread } from "../../chat/load";
import { isOnline } from "../../chat/presence";
import { Reader } from "../../chat/reader";
import type { Database } from "../../outbox/database";
import { Mailbox } from "../../outbox/mailbox";
import { entrySelectors } from "../../outbox/outbox";
import { makeStore, type Store } from "../store";
import { chatFrames } from "./chat-frames";
import type { FakeChat } from "./fake-chat";
import { ME, PEER } from "./fake-chat";
import { noticeFrames } from "./notice-frames";

let devices = 0;

export class Device {
  readonly store = makeStore();
  readonly mailbox: Mailbox;
  /** What the server said and nobody heard yet. */
  inbox: ServerFrame[] = [];
  readonly heard = new Set<string>();
  private readonly timers = new Map<number, { at: number; work: () => void }>();
  private readonly underWay = new Set<Promise<unknown>>();
  private readonly onChat: (frame: ServerFrame) => void;
  private readonly onNotice: (frame: NotificationFrame) => void;
  private now = 0;
  private made = 0;

  private constructor(chat: FakeChat) {
    const clock = { now: () => this.now, random: () => 1, later: this.later };
    const dispatch = ((action: Parameters<Store["dispatch"]>[0]) => {
      const outcome: unknown = this.store.dispatch(action);
      if (outcome instanceof Promise) this.watch(outcome);
      return outcome;
    }) as Store["dispatch"];
    const store: Store = { ...this.store, dispatch };
    const send = (frame: ClientFrame) => this.inbox.push(...chat.hears(frame)) >= 0;
    this.mailbox = new Mailbox({
      user: `${ME} on device ${(devices += 1)}`,
      clock,
      database: diskOf(chat),
      locks: null,
      dispatch,
      outbox: () => store.getState().outbox,
    });
    const reader = new Reader(clock, () => 0, send);
    const connection = { send } as ReturnType<Parameters<typeof chatFrames>[0]["connection"]>;
    this.onChat = chatFrames({ store, clock, me: ME, mailbox: this.mailbox, reader, connection: () => connection });
    this.onNotice = noticeFrames(store, () => false);
  }

  /** A client that has just begun, with the outbox of this device. */
  static async fresh(chat: FakeChat, open?: string[]): Promise<Device> {
    const device = new Device(chat);
    await device.mailbox.open();
    await device.store.dispatch(loadConversations(true));
    for (const id of open ?? chat.logs.keys()) await device.store.dispatch(openThread(id));
    device.onNotice(chat.greeting());
    device.inbox.push(chat.hello());
    await device.settle();
    return device;
  }

  hears(frame: ServerFrame) {
    this.heard.add(frame.type);
    this.onChat(frame);
  }

  hearsOfOthers(frame: NotificationFrame) {
    this.heard.add(frame.type);
    this.onNotice(frame);
  }

  /** Hears all that was said, asks what it has to ask, and lets hints pass. */
  async settle(): Promise<void> {
    const end = this.now + 30_000;
    do {
      for (const frame of this.inbox.splice(0)) this.hears(frame);
      while (this.underWay.size > 0) await Promise.all(this.underWay);
    } while (this.inbox.length > 0 || this.passes(end));
  }

  /** What it knows, without what no server tells. */
  snapshot() {
    const { conversations, threads, outbox, presence, notices } = this.store.getState();
    const all = conversationSelectors.selectAll(conversations);
    return {
      conversations: all,
      nextCursor: conversations.nextCursor,
      stale: conversations.stale,
      threads: Object.entries(threads).map(([id, { status, messages, hasBefore, hasAfter }]) => ({
        id,
        status,
        messages,
        hasBefore,
        hasAfter,
      })),
      outbox: entrySelectors
        .selectAll(outbox)
        .map(({ client_id, conversation_id, content, state, refusal }) => ({ client_id, conversation_id, content, state, refusal }))
        .toSorted((a, b) => (a.client_id < b.client_id ? -1 : 1)),
      typing: presence.typing,
      online: [ME, PEER].filter((id) => isOnline(presence, id, false)),
      notices: notices.unread,
    };
  }

  get open(): string[] {
    return Object.keys(this.store.getState().threads);
  }

  close() {
    this.mailbox.close();
  }

  private watch(work: Promise<unknown>) {
    this.underWay.add(work);
    void work.finally(() => this.underWay.delete(work));
  }

  private readonly later = (milliseconds: number, work: () => void) => {
    const timer = (this.made += 1);
    this.timers.set(timer, { at: this.now + milliseconds, work });
    return () => void this.timers.delete(timer);
  };

  /** Lets the next thing happen that is due until then. Whether there was one. */
  private passes(end: number): boolean {
    const [first] = [...this.timers].filter(([, { at }]) => at <= end).toSorted(([, a], [, b]) => a.at - b.at);
    if (!first) return false;
    const [timer, { at, work }] = first;
    this.timers.delete(timer);
    this.now = at;
    work();
    return true;
  }
}

/** A disk on which everything is that was written and is not stored. */
const diskOf = (chat: FakeChat): Database =>
  ({
    entries: async () =>
      [...chat.written.values()].map(({ client_id, conversation_id, content }) => ({
        client_id,
        conversation_id,
        content,
        written_at: 0,
        state: "waiting",
      })),
    drafts: async () => [],
    keep: async () => undefined,
    remove: async () => undefined,
    keepDraft: async () => undefined,
  }) as unknown as Database;

/** Lets `fetch` ask the chat. */
export function answering(chat: () => FakeChat) {
  // Without a page there is no address that a path could belong to.
  vi.stubGlobal("Request", class extends Request {
    constructor(path: string, init?: RequestInit) {
      super(new URL(path, "http://chat.test"), init);
    }
  });
  vi.stubGlobal("fetch", async ({ url }: Request) => {
    const answer = chat().answer(url);
    return answer === null ? Response.json({ code: "not_found" }, { status: 404 }) : Response.json(answer);
  });
}
