// Writes what a browser says, hears and shows as lines of a history, which
// tests/src/history/record.rs describes and tests/src/checker judges. What is on the
// wire comes from Chromium, what is shown from the page: the reducer's state as far
// as anybody can see it.

import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { watchPage } from './watched.mjs';

const { people, conversations } = JSON.parse(process.env.CHAT_CAST ?? '{}');
const file = process.env.CHAT_HISTORY_FILE;
/** Node and Chromium count from the same moment; the harness counts from its start. */
const monotonic = () => Number(process.hrtime.bigint() / 1_000n);
const offset = (performance.timeOrigin + performance.now()) * 1_000 - monotonic() - Number(process.env.CHAT_HISTORY_START);
const MICROSECOND = 1e-6;
/** What Chromium tells with the time at which it was. */
const TIMED = [
  ...['requestWillBeSent', 'responseReceived', 'loadingFinished', 'loadingFailed'],
  ...['webSocketFrameSent', 'webSocketFrameReceived', 'webSocketClosed'],
].map((event) => `Network.${event}`);
/** Far from those that the harness gives. */
let processes = 1_000_000;

/** Follows the only page of a person. `person.recorder` is where it writes. */
export async function record(person) {
  const known = people.find(({ username }) => username === person.username);
  const session = await person.context.newCDPSession(person.page);
  const recorder = new Recorder(known.id, person);
  session.on('Network.webSocketCreated', ({ requestId, url }) => recorder.begins(requestId, url));
  session.on('Network.webSocketWillSendHandshakeRequest', (it) => recorder.asks(it.requestId));
  session.on('Network.webSocketFrameSent', (it) => recorder.says(it.requestId, it.timestamp, it.response.payloadData));
  session.on('Network.webSocketFrameReceived', (it) => recorder.hears(it.requestId, it.timestamp, it.response.payloadData));
  session.on('Network.webSocketClosed', (it) => recorder.ends(it.requestId, it.timestamp));
  for (const event of TIMED) session.on(event, ({ timestamp }) => recorder.passes(timestamp));
  await session.send('Network.enable');
  await watchPage(person.page, () => recorder.isReborn(), (state) => recorder.shows(state));
  person.recorder = recorder;
}

class Recorder {
  sockets = new Map();
  /** Entries of the logs that are no messages, by conversation and number. */
  marks = new Map();
  learning = new Set();
  /** Of what Chromium told, in its seconds. */
  latest = 0;

  constructor(user, { context }) {
    Object.assign(this, { user, context });
    this.isReborn();
  }

  /** A new document: nothing that was shown is there any more. */
  isReborn() {
    this.life = { process: (processes += 1), connections: 0, shown: new Map(), sends: new Map(), typing: new Map(), seen: null };
  }

  passes(timestamp) {
    this.latest = Math.max(this.latest, timestamp);
  }

  /**
   * A socket belongs to the document that opened it, also when that is gone. Chromium
   * gives no time for its beginning, and one for its request that may be later than
   * what others hear of it: it began after all that Chromium had told before.
   */
  begins(id, url) {
    this.sockets.set(id, { path: new URL(url).pathname, life: this.life, asked: this.latest + MICROSECOND });
  }

  asks(id) {
    const socket = this.sockets.get(id);
    if (socket?.path !== '/ws/chat') return;
    socket.conn = socket.life.connections += 1;
    this.note('invoke', 'connect', { conn: socket.conn }, socket.life, socket.asked);
  }

  ends(id, timestamp) {
    const { conn, life } = this.sockets.get(id) ?? {};
    this.sockets.delete(id);
    if (conn === undefined) return;
    this.note('info', 'connect', { conn }, life, timestamp);
    for (const [client_id, { conv, answered }] of life.sends) {
      if (!answered) this.note('info', 'send', { conn, conv, client_id }, life, timestamp);
    }
  }

  says(id, timestamp, text) {
    const { conn, life } = this.sockets.get(id) ?? {};
    if (conn === undefined) return;
    const frame = JSON.parse(text);
    const conv = frame.conversation_id;
    const note = (f, more) => this.note('invoke', f, { conn, conv, ...more }, life, timestamp);
    switch (frame.type) {
      case 'message.create':
        // Again with the same id is the same operation.
        if (life.sends.has(frame.client_id)) return;
        life.sends.set(frame.client_id, { conv, answered: null });
        return note('send', { client_id: frame.client_id, hash: hash(frame.content) });
      case 'message.read':
        return note('read', { up_to: frame.up_to });
      case 'typing':
        return note('typing', { active: frame.active });
      case 'resume':
        return note('resume', { seq: frame.after });
      default:
        assert.fail(`nobody knows ${text}`);
    }
  }

  hears(id, timestamp, text) {
    const { path, conn, life } = this.sockets.get(id) ?? {};
    const frame = JSON.parse(text);
    if (path === '/ws/notifications/join') return this.hearsOfOthers(frame, life, timestamp);
    if (conn === undefined) return;
    const note = (type, f, more) => this.note(type, f, { conn, ...more }, life, timestamp);
    const entry = (event) => {
      this.learn(event);
      note('info', 'recv', ofLog(event));
    };
    switch (frame.type) {
      case 'hello':
        note('ok', 'connect');
        for (const { conversation_id: conv, seq } of frame.positions) note('info', 'recv', { entry: 'hello', conv, seq });
        return;
      case 'message.stored':
      case 'message.read':
        return entry(frame);
      case 'resumed':
        return frame.events.forEach(entry);
      case 'typing':
        return note('info', 'recv', { entry: 'typing', conv: frame.conversation_id, by: frame.user_id, active: frame.active });
      case 'accepted':
        return this.answers(frame.client_id, 'ok', { conn }, life, timestamp);
      case 'refused':
        return this.answers(frame.client_id, 'fail', { conn, code: frame.code }, life, timestamp);
    }
  }

  hearsOfOthers({ type, users }, life, timestamp) {
    if (!['user.online', 'user.offline'].includes(type)) return;
    for (const { id: by } of users) {
      const presence = { conn: life.connections, entry: 'presence', by, active: type === 'user.online' };
      this.note('info', 'recv', presence, life, timestamp);
    }
  }

  /** The first answer counts, but what was accepted may still be refused. */
  answers(client_id, type, more, life, timestamp) {
    const send = life.sends.get(client_id);
    if (!send || send.answered === 'fail' || send.answered === type) return;
    send.answered = type;
    this.note(type, 'send', { conv: send.conv, client_id, ...more }, life, timestamp);
  }

  learn(event) {
    if (event.type === 'message.read') this.marks.set(`${event.conversation_id} ${event.seq}`, event);
  }

  /** The page has changed. */
  shows(state) {
    this.life.seen = state;
    const { thread } = state;
    if (!thread) return this.shownTyping(null);
    this.shownTyping(thread.typing ? thread.conversation : null);
    this.shownRows(thread);
  }

  shownTyping(conversation) {
    for (const conv of this.life.typing.keys()) {
      if (conv === conversation) return;
      this.life.typing.delete(conv);
      this.note('info', 'view', { entry: 'typing', conv, by: this.other(conv), active: false });
    }
    if (!conversation) return;
    this.life.typing.set(conversation, true);
    this.note('info', 'view', { entry: 'typing', conv: conversation, by: this.other(conversation), active: true });
  }

  /** Row by row, in the order of the screen; a row that is there twice is told twice. */
  shownRows(thread) {
    const conv = thread.conversation;
    const known = this.shownUpTo(conv);
    const { ready, next, missing } = this.inOrder(thread, known);
    for (const entry of ready) this.note('info', 'view', { conv, ...entry });
    for (const entry of ready) this.own(conv, entry);
    if (next !== known) this.life.shown.set(conv, next);
    for (const row of disorder(thread.rows, next)) this.note('info', 'view', { conv, ...this.ofRow(row, conv) });
    if (missing) void this.ask(conv);
  }

  /** What is on the screen after `known`, up to what is not there. */
  inOrder({ conversation: conv, seq: top, rows, readUpTo, peerReadUpTo }, known) {
    const ready = [];
    const bySeq = new Map(rows.map((row) => [row.seq, row]));
    for (let seq = known + 1; seq <= top; seq += 1) {
      const row = bySeq.get(seq);
      const mark = this.marks.get(`${conv} ${seq}`);
      const shown = mark?.user_id === this.user ? readUpTo : peerReadUpTo;
      if (row) ready.push(this.ofRow(row, conv));
      else if (mark && mark.up_to <= shown) ready.push(ofLog(mark));
      else return { ready, next: seq - 1, missing: !mark };
    }
    return { ready, next: top, missing: false };
  }

  ofRow(row, conv) {
    const by = row.mine ? this.user : this.other(conv);
    return { entry: 'message', seq: row.seq, by, client_id: row.clientId, message_id: row.id, hash: hash(row.text) };
  }

  /** To be stored is the answer to a send and to a read. */
  own(conv, { entry, by, client_id, message_id, seq, up_to }) {
    if (by !== this.user) return;
    if (entry === 'message') this.answers(client_id, 'ok', { seq, message_id }, this.life);
    else this.note('ok', 'read', { conv, up_to, seq });
  }

  /** A snapshot tells where others have read, and not when they said so. */
  async ask(conv) {
    if (this.learning.has(conv)) return;
    this.learning.add(conv);
    const { life } = this;
    const answer = await this.context.request
      .get(`/api/messages/events?conversation=${conv}&after=${this.shownUpTo(conv)}`)
      .catch(() => null);
    const { events } = answer?.ok() ? await answer.json() : { events: [] };
    events.forEach((event) => this.learn(event));
    this.learning.delete(conv);
    if (life === this.life && events.length > 0 && life.seen) this.shows(life.seen);
  }

  /** What the page shows of how much is unread, when nothing is on its way any more. */
  shownUnread() {
    const { list, title } = this.life.seen;
    for (const { conversation: conv, unread: count } of list) this.found({ entry: 'unread', conv, by: this.user, count });
    this.found({ entry: 'unread', by: this.user, count: Number(/^\((\d+)\)/.exec(title)?.[1] ?? 0) });
  }

  /** How far the open log is shown. */
  shownPosition() {
    const conv = this.life.seen.thread.conversation;
    this.found({ entry: 'position', conv, seq: this.shownUpTo(conv) });
  }

  shownUpTo(conv) {
    return this.life.shown.get(conv) ?? 0;
  }

  async signsOut(doIt) {
    this.note('invoke', 'revoke', {});
    await doIt();
    this.note('ok', 'revoke', {});
  }

  /** The browser is closed. */
  stop() {
    for (const id of [...this.sockets.keys()]) this.ends(id);
  }

  found(more) {
    this.note('info', 'final', { via: 'view', ...more });
  }

  other(conv) {
    return conversations.find(({ id }) => id === conv).members.find((id) => id !== this.user);
  }

  /** Chromium gives seconds of the clock that Node gives in nanoseconds. */
  note(type, f, more, life = this.life, timestamp = undefined) {
    const at = timestamp === undefined ? monotonic() : timestamp * 1_000_000;
    const t_mono = Math.max(0, Math.round(at + offset));
    appendFileSync(file, `${JSON.stringify({ t_mono, process: life.process, user: this.user, type, f, ...more })}\n`);
  }
}

/** Rows that are on the screen twice or out of place, of those that were told already. */
function disorder(rows, next) {
  const clients = new Set();
  let top = 0;
  return rows.filter(({ seq, clientId }) => {
    const again = clients.has(clientId);
    clients.add(clientId);
    if (seq === null || seq > next) return false;
    const late = seq <= top;
    top = Math.max(top, seq);
    return again || late;
  });
}

function ofLog(event) {
  const { conversation_id: conv, seq } = event;
  if (event.type === 'message.read') return { entry: 'read', conv, seq, by: event.user_id, up_to: event.up_to };
  const { id, sender_id, client_id, content } = event.message;
  return { entry: 'message', conv, seq, by: sender_id, client_id, message_id: id, hash: hash(content) };
}

/** FNV-1a, as in tests/src/history/record.rs. */
function hash(text) {
  let value = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) {
    value = BigInt.asUintN(64, (value ^ BigInt(byte)) * 0x100000001b3n);
  }
  return value.toString(16).padStart(16, '0');
}
