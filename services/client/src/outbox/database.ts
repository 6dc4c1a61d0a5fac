import { deleteDB, openDB, type DBSchema, type IDBPDatabase } from "idb";

import type { Draft, Entry } from "./entry";

interface Schema extends DBSchema {
  outbox: { key: string; value: Entry };
  drafts: { key: string; value: Draft };
}

const nameFor = (user: string): string => `chat.${user}`;

/** What must survive a reload, per user of this browser. */
export class Database {
  private readonly opened: Promise<IDBPDatabase<Schema>>;

  constructor(private readonly user: string) {
    this.opened = openDB<Schema>(nameFor(user), 1, {
      upgrade(database) {
        database.createObjectStore("outbox", { keyPath: "client_id" });
        database.createObjectStore("drafts", { keyPath: "conversation_id" });
      },
      // Another tab signs out: it must not wait for this one.
      blocking: (_version, _blocked, event) => (event.target as IDBDatabase).close(),
    });
  }

  async entries(): Promise<Entry[]> {
    return (await this.opened).getAll("outbox");
  }

  async keep(entry: Entry): Promise<void> {
    await (await this.opened).put("outbox", entry);
  }

  async remove(clientId: string): Promise<void> {
    await (await this.opened).delete("outbox", clientId);
  }

  async drafts(): Promise<Draft[]> {
    return (await this.opened).getAll("drafts");
  }

  async keepDraft(draft: Draft): Promise<void> {
    const database = await this.opened;
    if (draft.content === "") await database.delete("drafts", draft.conversation_id);
    else await database.put("drafts", draft);
  }

  async close(): Promise<void> {
    (await this.opened).close();
  }

  /** Nothing stays on a device from which somebody signed out. */
  async destroy(): Promise<void> {
    await this.close();
    await deleteDB(nameFor(this.user));
  }
}
