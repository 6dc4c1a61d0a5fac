// Short names for the generated types; nothing is typed by hand.
import type { components as auth } from "./generated/auth";
import type { LogEvent } from "./generated/events";
import type { components as messages } from "./generated/messages";
import type { components as notifications } from "./generated/notifications";
import type { components as users } from "./generated/users";

export type {
  ClientFrame,
  Code,
  LogEvent,
  Member,
  MessageView,
  NotificationFrame,
  NoticeView,
  Position,
  PublicUser,
  ServerFrame,
} from "./generated/events";
export { CLOSE, LIMITS } from "./generated/limits";

export type Account = auth["schemas"]["Account"];
export type CurrentUser = auth["schemas"]["CurrentUser"];
export type ChangePassword = auth["schemas"]["ChangePassword"];
export type SignIn = auth["schemas"]["SignIn"];
export type SignUp = auth["schemas"]["SignUp"];
export type SignedIn = auth["schemas"]["SignedIn"];
export type Problem = auth["schemas"]["Problem"];

export type User = users["schemas"]["User"];
export type UserPage = users["schemas"]["Page"];

export type Conversation = messages["schemas"]["Conversation"];
export type ConversationPage = messages["schemas"]["ConversationPage"];
export type MessagePage = messages["schemas"]["MessagePage"];

export type Notices = notifications["schemas"]["Notices"];

export type StoredEvent = Extract<LogEvent, { type: "message.stored" }>;
export type ReadEvent = Extract<LogEvent, { type: "message.read" }>;
