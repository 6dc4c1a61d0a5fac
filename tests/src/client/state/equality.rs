//! What a client knows after a frame is what a client knows that begins now: for
//! each frame that a server says, and whatever is lost, repeated or overtaken.

mod says;
mod server;
mod snapshot;

use chat_events::{LogEvent, ServerFrame, UserId};
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::time::Instant;
use uuid::Uuid;

use super::TYPING;
use server::Server;
use snapshot::snapshot;

const ME: UserId = UserId(Uuid::from_u128(1));
const PEER: UserId = UserId(Uuid::from_u128(2));

macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Kind { $($kind,)* }

        const KINDS: &[Kind] = &[$(Kind::$kind,)*];
    };
}

kinds!(
    Hello,
    Accepted,
    Refused,
    Error,
    Typing,
    ConversationCreated,
    Heartbeat,
    Resumed,
    Resync,
    GoingAway,
    Stored,
    Read,
);

/// A new frame does not compile before it has a kind here, and a new kind not
/// before [`Server::says`] knows what has happened when it is said.
const fn kind_of(frame: &ServerFrame) -> Kind {
    match frame {
        ServerFrame::Hello { .. } => Kind::Hello,
        ServerFrame::Accepted { .. } => Kind::Accepted,
        ServerFrame::Refused { .. } => Kind::Refused,
        ServerFrame::Error { .. } => Kind::Error,
        ServerFrame::Typing { .. } => Kind::Typing,
        ServerFrame::ConversationCreated { .. } => Kind::ConversationCreated,
        ServerFrame::Heartbeat { .. } => Kind::Heartbeat,
        ServerFrame::Resumed { .. } => Kind::Resumed,
        ServerFrame::Resync { .. } => Kind::Resync,
        ServerFrame::GoingAway { .. } => Kind::GoingAway,
        ServerFrame::Log(LogEvent::Message { .. }) => Kind::Stored,
        ServerFrame::Log(LogEvent::Read { .. }) => Kind::Read,
    }
}

/// Whether the frame leaves nothing to ask for.
const fn is_complete(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Hello | Kind::Heartbeat | Kind::Resumed | Kind::Resync
    )
}

fn happenings(most: usize) -> impl Strategy<Value = Vec<(Kind, Index)>> {
    prop::collection::vec((prop::sample::select(KINDS), any::<Index>()), 0..most)
}

/// What one connection may say; a greeting begins another one.
fn pushes(most: usize) -> impl Strategy<Value = Vec<(Kind, Index)>> {
    let pushed: Vec<Kind> = KINDS
        .iter()
        .copied()
        .filter(|kind| !matches!(kind, Kind::Hello | Kind::Resync | Kind::Resumed))
        .collect();
    prop::collection::vec((prop::sample::select(pushed), any::<Index>()), 1..most)
}

proptest! {
    #[test]
    fn a_snapshot_and_a_frame_are_the_fresh_snapshot(
        past in happenings(40),
        pick in any::<Index>(),
    ) {
        for kind in KINDS {
            let mut server = Server::after(&past);
            let mut client = server.fresh();
            let frame = server.says(*kind, pick, &mut client);
            prop_assert_eq!(kind_of(&frame), *kind);
            let asked = server.hears(&mut client, frame);
            prop_assert!(asked == 0 || !is_complete(*kind), "{:?} needed {} questions", kind, asked);
            let known = snapshot(client);
            prop_assert!(server.is_shown_by(&known), "{:?} after {:?}", known, kind);
            prop_assert_eq!(known, snapshot(server.fresh()), "after {:?}", kind);
        }
    }

    #[test]
    fn frames_that_are_lost_repeated_or_late_are_made_good(
        past in happenings(20),
        future in pushes(40),
        deliveries in prop::collection::vec(any::<Index>(), 0..80),
        greeted in any::<bool>(),
    ) {
        let mut server = Server::after(&past);
        let mut client = server.fresh();
        let frames: Vec<ServerFrame> = future
            .iter()
            .map(|(kind, pick)| server.says(*kind, *pick, &mut client))
            .collect();
        for delivery in deliveries {
            client.apply(frames[delivery.index(frames.len())].clone());
        }
        let last = if greeted {
            server.hello()
        } else {
            ServerFrame::Heartbeat { positions: server.positions() }
        };
        server.hears(&mut client, last);
        server.answer(&mut client);
        let known = snapshot(client);
        prop_assert!(server.is_shown_by(&known), "{:?}", known);
        prop_assert_eq!(known, snapshot(server.fresh()));
    }
}

#[test]
fn typing_is_shown_until_it_ends_or_is_not_said_again() {
    let server = Server::after(&[]);
    let typing = |active| ServerFrame::Typing {
        conversation_id: *server.logs.keys().next().expect("a conversation"),
        user_id: PEER,
        active,
    };
    let mut client = server.fresh();
    client.apply(typing(true));
    assert_eq!(client.typing.len(), 1);
    client.apply(typing(false));
    assert!(client.typing.is_empty());
    client.apply(typing(true));
    assert!(client.end_typing(Instant::now() + TYPING));
    assert!(client.typing.is_empty());
}
