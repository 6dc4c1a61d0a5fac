//! Random ids, texts and times that are valid.

use chat_events::{
    ClientId, Code, ConversationId, LogEvent, Member, MessageId, MessageView, NoticeView,
    PublicUser, UserId,
};
use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

pub fn id<T: From<Uuid> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    any::<u128>().prop_map(|number| Uuid::from_u128(number).into())
}

pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{0,12}",
        ".{0,40}",
        "\\PC{0,20}",
        "[\\x00-\\x1f\"\\\\]{0,6}"
    ]
}

pub fn number() -> impl Strategy<Value = i64> {
    prop_oneof![0..100_i64, any::<i64>()]
}

pub fn time() -> impl Strategy<Value = Timestamp> {
    let (first, last) = (
        Timestamp::MIN.as_microsecond(),
        Timestamp::MAX.as_microsecond(),
    );
    prop_oneof![
        1_700_000_000_000_000..1_900_000_000_000_000_i64,
        first..=last,
    ]
    .prop_map(|at| Timestamp::from_microsecond(at).expect("in range"))
}

pub fn code() -> impl Strategy<Value = Code> {
    prop::sample::select(Code::ALL)
}

pub fn member() -> impl Strategy<Value = Member> {
    (id(), text(), text()).prop_map(|(user_id, username, display_name)| Member {
        user_id,
        username,
        display_name,
    })
}

pub fn user() -> impl Strategy<Value = PublicUser> {
    member().prop_map(|member| PublicUser {
        id: member.user_id,
        username: member.username,
        display_name: member.display_name,
    })
}

pub fn message() -> impl Strategy<Value = MessageView> {
    (
        id::<MessageId>(),
        id(),
        number(),
        id(),
        id(),
        text(),
        time(),
    )
        .prop_map(
            |(id, conversation_id, seq, sender_id, client_id, content, created_at)| MessageView {
                id,
                conversation_id,
                seq,
                sender_id,
                client_id,
                content,
                created_at,
            },
        )
}

pub fn entry() -> impl Strategy<Value = LogEvent> {
    let stored =
        (id(), number(), message()).prop_map(|(conversation_id, seq, message)| LogEvent::Message {
            conversation_id,
            seq,
            message,
        });
    let read = (
        id::<ConversationId>(),
        number(),
        id::<UserId>(),
        number(),
        time(),
    )
        .prop_map(
            |(conversation_id, seq, user_id, up_to, at)| LogEvent::Read {
                conversation_id,
                seq,
                user_id,
                up_to,
                at,
            },
        );
    prop_oneof![stored, read]
}

pub fn notice() -> impl Strategy<Value = NoticeView> {
    let read_at = prop::option::of(time());
    (id::<Uuid>(), message(), text(), read_at).prop_map(
        |(id, message, sender_username, read_at)| NoticeView {
            id,
            conversation_id: message.conversation_id,
            message_id: message.id,
            seq: message.seq,
            sender_id: message.sender_id,
            sender_username,
            preview: message.content,
            created_at: message.created_at,
            read_at,
        },
    )
}

/// As a client makes it.
pub fn client_id() -> impl Strategy<Value = ClientId> {
    any::<u128>().prop_map(|number| {
        let version = (number & !(0xf000 << 64)) | (0x7000 << 64);
        ClientId(Uuid::from_u128(version & !(0xc << 60) | (0x8 << 60)))
    })
}
