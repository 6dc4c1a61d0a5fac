//! Frames of both sockets, as types. What the server does with a hostile one is
//! fuzzed beside its rules and, over a real socket, in `chat_fuzz`.

use chat_events::{ClientFrame, NotificationFrame, Position, PublicUser, ServerFrame};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::made::{client_id, code, entry, id, member, notice, number, text, time, user};

macro_rules! kinds {
    ($kinds:ident, $kind:ident, $of:ident, $frame:ident: $($name:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq)]
        enum $kind { $($name,)* }

        const $kinds: &[$kind] = &[$($kind::$name,)*];

        /// A new frame does not compile before it is listed, and not before one of
        /// its kind is made.
        const fn $of(frame: &$frame) -> $kind {
            match frame { $($frame::$name { .. } => $kind::$name,)* }
        }
    };
}

kinds!(CLIENT, Client, of_client, ClientFrame: MessageCreate, MessageRead, Typing, Resume);
kinds!(SERVER, Server, of_server, ServerFrame: Hello, Accepted, Refused, Error, Typing,
    ConversationCreated, Heartbeat, Resumed, Resync, GoingAway, Log);
kinds!(NOTICES, Notices, of_notices, NotificationFrame: Hello, UserOnline, UserOffline,
    UserUpdated, Notice, Unread, Heartbeat, Error, GoingAway);

fn client(kind: Client) -> BoxedStrategy<ClientFrame> {
    match kind {
        Client::MessageCreate => (client_id(), id(), text())
            .prop_map(
                |(client_id, conversation_id, content)| ClientFrame::MessageCreate {
                    client_id,
                    conversation_id,
                    content,
                },
            )
            .boxed(),
        Client::MessageRead => (id(), number())
            .prop_map(|(conversation_id, up_to)| ClientFrame::MessageRead {
                conversation_id,
                up_to,
            })
            .boxed(),
        Client::Typing => (id(), any::<bool>())
            .prop_map(|(conversation_id, active)| ClientFrame::Typing {
                conversation_id,
                active,
            })
            .boxed(),
        Client::Resume => (id(), number())
            .prop_map(|(conversation_id, after)| ClientFrame::Resume {
                conversation_id,
                after,
            })
            .boxed(),
    }
}

fn positions() -> impl Strategy<Value = Vec<Position>> {
    let position = (id(), number()).prop_map(|(conversation_id, seq)| Position {
        conversation_id,
        seq,
    });
    prop::collection::vec(position, 0..3)
}

fn server(kind: Server) -> BoxedStrategy<ServerFrame> {
    match kind {
        Server::Hello => (id(), id(), time(), any::<u64>(), text(), positions())
            .prop_map(
                |(connection_id, user_id, expires_at, heartbeat_seconds, epoch, positions)| {
                    ServerFrame::Hello {
                        connection_id,
                        user_id,
                        expires_at,
                        heartbeat_seconds,
                        epoch,
                        positions,
                    }
                },
            )
            .boxed(),
        Server::Accepted => id()
            .prop_map(|client_id| ServerFrame::Accepted { client_id })
            .boxed(),
        Server::Refused => (id(), id(), code(), text())
            .prop_map(
                |(client_id, conversation_id, code, detail)| ServerFrame::Refused {
                    client_id,
                    conversation_id,
                    code,
                    detail,
                },
            )
            .boxed(),
        Server::Error => (code(), text(), prop::option::of(id()))
            .prop_map(|(code, detail, client_id)| ServerFrame::Error {
                code,
                detail,
                client_id,
            })
            .boxed(),
        Server::Typing => (id(), id(), any::<bool>())
            .prop_map(|(conversation_id, user_id, active)| ServerFrame::Typing {
                conversation_id,
                user_id,
                active,
            })
            .boxed(),
        Server::ConversationCreated => (id(), prop::collection::vec(member(), 0..3), time())
            .prop_map(
                |(conversation_id, members, created_at)| ServerFrame::ConversationCreated {
                    conversation_id,
                    members,
                    created_at,
                },
            )
            .boxed(),
        Server::Heartbeat => positions()
            .prop_map(|positions| ServerFrame::Heartbeat { positions })
            .boxed(),
        Server::Resumed => (id(), prop::collection::vec(entry(), 0..3), any::<bool>())
            .prop_map(|(conversation_id, events, complete)| ServerFrame::Resumed {
                conversation_id,
                events,
                complete,
            })
            .boxed(),
        Server::Resync => id()
            .prop_map(|conversation_id| ServerFrame::Resync { conversation_id })
            .boxed(),
        Server::GoingAway => any::<u64>()
            .prop_map(|delay_ms| ServerFrame::GoingAway { delay_ms })
            .boxed(),
        Server::Log => entry().prop_map(ServerFrame::Log).boxed(),
    }
}

fn users() -> impl Strategy<Value = Vec<PublicUser>> {
    prop::collection::vec(user(), 0..3)
}

fn of_others(kind: Notices) -> BoxedStrategy<NotificationFrame> {
    match kind {
        Notices::Hello => (prop::option::of(id()), number(), users())
            .prop_map(|(user_id, unread, online)| NotificationFrame::Hello {
                user_id,
                unread,
                online,
            })
            .boxed(),
        Notices::UserOnline => users()
            .prop_map(|users| NotificationFrame::UserOnline { users })
            .boxed(),
        Notices::UserOffline => users()
            .prop_map(|users| NotificationFrame::UserOffline { users })
            .boxed(),
        Notices::UserUpdated => users()
            .prop_map(|users| NotificationFrame::UserUpdated { users })
            .boxed(),
        Notices::Notice => (notice(), number())
            .prop_map(|(notice, unread)| NotificationFrame::Notice { notice, unread })
            .boxed(),
        Notices::Unread => number()
            .prop_map(|unread| NotificationFrame::Unread { unread })
            .boxed(),
        Notices::Heartbeat => Just(NotificationFrame::Heartbeat {}).boxed(),
        Notices::Error => (code(), text())
            .prop_map(|(code, detail)| NotificationFrame::Error { code, detail })
            .boxed(),
        Notices::GoingAway => any::<u64>()
            .prop_map(|delay_ms| NotificationFrame::GoingAway { delay_ms })
            .boxed(),
    }
}

fn comes_back<F, K>(kinds: &'static [K], make: fn(K) -> BoxedStrategy<F>, kind_of: fn(&F) -> K)
where
    F: Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug + 'static,
    K: Copy + PartialEq + std::fmt::Debug + 'static,
{
    let frames = prop::sample::select(kinds)
        .prop_flat_map(move |kind| make(kind).prop_map(move |frame| (kind, frame)));
    proptest!(ProptestConfig::with_cases(2_000), |((kind, frame) in frames)| {
        prop_assert_eq!(kind_of(&frame), kind);
        let text = serde_json::to_string(&frame).expect("JSON");
        let read: F = serde_json::from_str(&text).expect("what was written");
        prop_assert_eq!(read, frame, "{}", text);
    });
}

#[test]
fn every_frame_of_a_client_is_read_as_it_was_written() {
    comes_back(CLIENT, client, of_client);
}

#[test]
fn every_frame_of_the_chat_is_read_as_it_was_written() {
    comes_back(SERVER, server, of_server);
}

#[test]
fn every_frame_of_notifications_is_read_as_it_was_written() {
    comes_back(NOTICES, of_others, of_notices);
}
