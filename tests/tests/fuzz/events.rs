//! Bodies of broker messages.

use chat_e2e::fuzz::{fuzz, must};
use chat_events::{
    ConversationCreated, Envelope, Event, MessageSent, NoticeCreated, NoticeFor, Noticed,
    ReadRequested, Recorded, SendRefused, SessionRevoked, Typing, UserRef, UserSeen,
};
use chat_kit::trace;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::made::{code, entry, id, member, notice, number, text, time};

macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug)]
        enum Kind { $($kind,)* }

        const KINDS: &[Kind] = &[$(Kind::$kind,)*];

        /// A new event does not compile before it has a kind here, and a new kind
        /// not before [`event`] makes it.
        const fn kind_of(event: &Event) -> Kind {
            match event { $(Event::$kind { .. } => Kind::$kind,)* }
        }
    };
}

kinds!(
    UserRegistered,
    UserUpdated,
    UserDeleted,
    UserLoggedIn,
    UserSignedOut,
    SessionRevoked,
    UserOnline,
    UserOffline,
    PresenceHint,
    MessageSent,
    MessageRead,
    MessageStored,
    MessageRefused,
    ConversationCreated,
    Typing,
    Notice,
    Noticed,
);

fn event(kind: Kind) -> BoxedStrategy<Event> {
    let profile = || {
        (member(), number()).prop_map(|(member, version)| UserRef {
            user_id: member.user_id,
            username: member.username,
            display_name: member.display_name,
            version,
        })
    };
    let seen = || {
        member().prop_map(|member| UserSeen {
            user_id: member.user_id,
            username: member.username,
            display_name: member.display_name,
        })
    };
    match kind {
        Kind::UserRegistered => profile().prop_map(Event::UserRegistered).boxed(),
        Kind::UserUpdated => profile().prop_map(Event::UserUpdated).boxed(),
        Kind::UserDeleted => id()
            .prop_map(|user_id| Event::UserDeleted { user_id })
            .boxed(),
        Kind::UserLoggedIn => (id(), id())
            .prop_map(|(user_id, session_id)| Event::UserLoggedIn {
                user_id,
                session_id,
            })
            .boxed(),
        Kind::UserSignedOut => (id(), id())
            .prop_map(|(user_id, session_id)| Event::UserSignedOut {
                user_id,
                session_id,
            })
            .boxed(),
        Kind::SessionRevoked => (id(), id(), time())
            .prop_map(|(user_id, session_id, until)| {
                Event::SessionRevoked(SessionRevoked {
                    user_id,
                    session_id,
                    until,
                })
            })
            .boxed(),
        Kind::UserOnline => seen().prop_map(Event::UserOnline).boxed(),
        Kind::UserOffline => seen().prop_map(Event::UserOffline).boxed(),
        Kind::PresenceHint => id()
            .prop_map(|user_id| Event::PresenceHint { user_id })
            .boxed(),
        Kind::MessageSent => (id(), id(), id(), text())
            .prop_map(|(conversation_id, sender_id, client_id, content)| {
                Event::MessageSent(MessageSent {
                    conversation_id,
                    sender_id,
                    client_id,
                    content,
                })
            })
            .boxed(),
        Kind::MessageRead => (id(), id(), number())
            .prop_map(|(conversation_id, user_id, up_to)| {
                Event::MessageRead(ReadRequested {
                    conversation_id,
                    user_id,
                    up_to,
                })
            })
            .boxed(),
        Kind::MessageStored => (prop::collection::vec(id(), 0..3), entry())
            .prop_map(|(members, entry)| Event::MessageStored { members, entry })
            .boxed(),
        Kind::MessageRefused => (id(), id(), id(), code(), text())
            .prop_map(|(conversation_id, sender_id, client_id, code, detail)| {
                Event::MessageRefused(SendRefused {
                    conversation_id,
                    sender_id,
                    client_id,
                    code,
                    detail,
                })
            })
            .boxed(),
        Kind::ConversationCreated => (id(), prop::collection::vec(member(), 0..3), time())
            .prop_map(|(conversation_id, members, created_at)| {
                Event::ConversationCreated(ConversationCreated {
                    conversation_id,
                    members,
                    created_at,
                })
            })
            .boxed(),
        Kind::Typing => (id(), id(), any::<bool>())
            .prop_map(|(conversation_id, user_id, active)| {
                Event::Typing(Typing {
                    conversation_id,
                    user_id,
                    active,
                })
            })
            .boxed(),
        Kind::Notice => (id(), number(), prop::option::of(notice()))
            .prop_map(|(user_id, unread, notice)| {
                Event::Notice(NoticeCreated {
                    user_id,
                    unread,
                    notice,
                })
            })
            .boxed(),
        Kind::Noticed => {
            let people = || prop::collection::vec(id(), 0..4);
            let new = (people(), notice())
                .prop_map(|(receivers, notice)| NoticeFor { receivers, notice });
            let notices = prop::collection::vec(new, 0..3);
            (number(), number(), notices, people())
                .prop_map(|(after, up_to, notices, readers)| {
                    Event::Noticed(Noticed {
                        after,
                        up_to,
                        notices,
                        readers,
                    })
                })
                .boxed()
        }
    }
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let trace = prop::option::of(prop_oneof![
        Just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        text(),
    ]);
    let of_a_kind = prop::sample::select(KINDS).prop_flat_map(event);
    let recorded = (id(), time(), trace, of_a_kind).prop_map(|(id, at, trace, event)| Recorded {
        id,
        at,
        trace,
        event,
    });
    prop::collection::vec(recorded, 0..4).prop_map(Envelope::new)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_event_is_read_as_it_was_written(envelope in envelope()) {
        let body = serde_json::to_vec(&envelope).expect("JSON");
        let read: Envelope = serde_json::from_slice(&body).expect("what was written");
        prop_assert_eq!(read, envelope);
    }
}

/// As `chat_kit::broker` reads it: what it does not know is an error and goes to
/// the dead letters, whatever it is.
#[test]
fn a_hostile_body_is_refused_or_an_event() {
    let valid = envelope().prop_map(|envelope| serde_json::to_vec(&envelope).expect("JSON"));
    fuzz("events", valid, read);
}

fn read(body: &[u8]) -> TestCaseResult {
    let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else {
        return Ok(());
    };
    for recorded in &envelope.events {
        // In order of use: the log, the queue it belongs to.
        recorded.trace.as_deref().and_then(trace::id);
        let key = recorded.event.routing_key();
        must(!key.is_empty(), || {
            format!("{:?} goes nowhere", kind_of(&recorded.event))
        })?;
    }
    let again = serde_json::to_vec(&envelope).expect("JSON");
    let read: Envelope = serde_json::from_slice(&again).expect("what was written");
    must(read == envelope, || format!("{envelope:?} became {read:?}"))
}
