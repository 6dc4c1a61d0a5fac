// For tests: the truth about a chat, and what its services answer from it.
import type {
  ClientFrame,
  Code,
  Conversation,
  LogEvent,
  MessagePage,
  MessageView,
  NotificationFrame,
  PublicUser,
  ServerFrame,
} from "../../api/types";

export const ME = "me";
export const PEER = "peer";
/** Events in one answer to a resume: few, so that it takes more than one. */
const PAGE = 3;

/** Picks one of `count`, from 0 on; a property test decides which. */
export type Pick = (count: number) => number;
/** What the broker or messages will say of something that I write. */
export type Fate = "accepted" | "refused" | "accepted when said again";

const at = (seq: number) => new Date(Date.UTC(2026, 0, 1) + seq * 1_000).toISOString();

export class FakeChat {
  restores = 0;
  readonly logs = new Map<string, LogEvent[]>();
  readonly names = new Map([ME, PEER].map((id) => [id, `${id} 1`]));
  online: string[] = [];
  notices = 0;
  /** Everything that I wrote on this device and that is in no log. */
  readonly written = new Map<string, ClientFrame & { type: "message.create" }>();
  private readonly fates = new Map<string, Fate>();
  private made = 0;

  begin(): string {
    const id = `c${(this.made += 1)}`;
    this.logs.set(id, []);
    return id;
  }

  one(pick: Pick): string {
    return [...this.logs.keys()][pick(this.logs.size)] as string;
  }

  log(id: string): LogEvent[] {
    return this.logs.get(id) ?? [];
  }

  /** A message of the other one, or one of mine that waits. */
  store(id: string, pick: Pick): LogEvent {
    const mine = [...this.written.values()].find(
      ({ client_id, conversation_id }) => conversation_id === id && this.fates.get(client_id) === "accepted",
    );
    const message = mine && pick(2) === 0 ? { sender_id: ME, client_id: mine.client_id } : { sender_id: PEER, client_id: this.fresh() };
    this.written.delete(message.client_id);
    const seq = this.log(id).length + 1;
    return this.add({
      type: "message.stored",
      conversation_id: id,
      seq,
      message: { id: `m${this.fresh()}`, conversation_id: id, seq, content: `text ${seq}`, created_at: at(seq), ...message },
    });
  }

  mark(id: string, pick: Pick): LogEvent {
    const seq = this.log(id).length + 1;
    return this.add({
      type: "message.read",
      conversation_id: id,
      seq,
      user_id: pick(2) === 0 ? ME : PEER,
      up_to: pick(seq),
      at: at(seq),
    });
  }

  /** What will be said of the next thing that I write. */
  plan(conversation_id: string, fate: Fate): { client_id: string; conversation_id: string; content: string } {
    const client_id = this.fresh();
    this.fates.set(client_id, fate);
    const draft = { client_id, conversation_id, content: "mine" };
    this.written.set(client_id, { type: "message.create", ...draft });
    return draft;
  }

  /** An earlier backup: the end of a log is gone, and what comes instead has the same numbers. */
  lose(id: string, pick: Pick) {
    const log = this.log(id);
    log.splice(pick(log.length + 1));
  }

  /** Entries of several logs, and a conversation that is new. */
  goOn(pick: Pick) {
    this.begin();
    const ids = [...this.logs.keys()];
    for (let number = pick(2 * PAGE); number > 0; number -= 1) {
      const id = ids[number % ids.length] as string;
      if (number % 2 === 0) this.store(id, pick);
      else this.mark(id, pick);
    }
  }

  hello(): ServerFrame {
    return {
      type: "hello",
      connection_id: "x",
      user_id: ME,
      expires_at: at(0),
      heartbeat_seconds: 25,
      epoch: `e${this.restores}`,
      positions: this.positions(),
    };
  }

  positions() {
    return [...this.logs].map(([conversation_id, log]) => ({ conversation_id, seq: log.length }));
  }

  /** What comes back for a frame of the client. */
  hears(frame: ClientFrame): ServerFrame[] {
    if (frame.type === "resume") {
      const rest = this.log(frame.conversation_id).slice(frame.after);
      const events = rest.slice(0, PAGE);
      return [{ type: "resumed", conversation_id: frame.conversation_id, events, complete: events.length === rest.length }];
    }
    if (frame.type !== "message.create") return [];
    const { client_id, conversation_id } = frame;
    const stored = this.log(conversation_id).find(
      (entry) => entry.type === "message.stored" && entry.message.client_id === client_id,
    );
    if (stored) return [{ type: "accepted", client_id }, stored];
    const code: Code = this.fates.get(client_id) === "refused" ? "conflict" : "unavailable";
    if (code === "conflict") return [{ type: "refused", client_id, conversation_id, code, detail: "" }];
    if (this.fates.get(client_id) === "accepted") return [{ type: "accepted", client_id }];
    this.fates.set(client_id, "accepted");
    return [{ type: "error", client_id, code, detail: "" }];
  }

  /** What HTTP answers. */
  answer(address: string): unknown {
    const { pathname, searchParams } = new URL(address, "http://chat.test");
    const [, , resource, id] = pathname.split("/");
    if (resource === "conversations" && id) return this.logs.has(id) ? this.snapshot(id) : null;
    if (resource === "conversations") return { conversations: [...this.logs.keys()].map((one) => this.snapshot(one)), next_cursor: null };
    if (resource === "messages") return this.page(searchParams.get("conversation") ?? "");
    if (resource === "notifications") return { notices: [], unread: this.notices, next_cursor: null };
    throw new Error(`nobody answers ${address}`);
  }

  person(id: string): PublicUser {
    return { id, username: id, display_name: this.names.get(id) ?? "" };
  }

  greeting(): NotificationFrame {
    return { type: "hello", user_id: ME, unread: this.notices, online: this.online.map((id) => this.person(id)) };
  }

  /** As the messages service makes it, from the whole log. */
  private snapshot(id: string): Conversation {
    const log = this.log(id);
    const messages = messagesOf(log);
    const marks = (user: string) => log.map((entry) => (entry.type === "message.read" && entry.user_id === user ? entry.up_to : 0));
    const read = Math.max(0, ...marks(ME));
    return {
      id,
      members: [ME, PEER].map((one) => ({ user_id: one, username: one, display_name: this.names.get(one) ?? "" })),
      created_at: at(0),
      last_message: messages.at(-1) ?? null,
      last_activity_at: messages.at(-1)?.created_at ?? at(0),
      unread: messages.filter(({ seq, sender_id }) => sender_id !== ME && seq > read).length,
      read_up_to: read,
      peer_read_up_to: Math.max(0, ...marks(PEER)),
      seq: log.length,
    };
  }

  /** All of it: the logs here are short. */
  private page(id: string): MessagePage {
    const log = this.log(id);
    return { messages: messagesOf(log), reads: [], seq: log.length, has_before: false, has_after: false };
  }

  /** How what I wrote ends. */
  outbox() {
    return [...this.written.keys()].toSorted().map((client_id) => ({
      client_id,
      state: this.fates.get(client_id) === "refused" ? "refused" : "accepted",
    }));
  }

  private add(entry: LogEvent): LogEvent {
    this.log(entry.conversation_id).push(entry);
    return entry;
  }

  private fresh(): string {
    return `k${String((this.made += 1)).padStart(6, "0")}`;
  }
}

const messagesOf = (log: LogEvent[]): MessageView[] =>
  log.flatMap((entry) => (entry.type === "message.stored" ? [entry.message] : []));
