//! The index without any I/O.

use std::sync::Arc;

use chat_events::{
    ClientId, Code, ConversationCreated, ConversationId, Event, LogEvent, Member, MessageId,
    MessageView, SendRefused, SessionRevoked, Typing, UserId,
};
use chat_kit::socket::{End, Item, SocketArgs};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{Caller, Hub, NoPlace, Registration};
use crate::messages::{Positions, Standing};

mod copies;

fn hub() -> Arc<Hub> {
    Hub::new(SocketArgs {
        sockets_per_user: 10,
        sockets_per_address: 50,
        max_sockets: 60,
        heartbeat_seconds: 20,
    })
}

fn open(hub: &Arc<Hub>, user: UserId) -> Registration {
    hub.add(Caller::at_socket(user)).expect("there is a place")
}

fn stored(conversation: ConversationId, members: &[UserId], seq: i64) -> Event {
    Event::MessageStored {
        members: members.to_vec(),
        entry: LogEvent::Message {
            conversation_id: conversation,
            seq,
            message: MessageView {
                id: MessageId::generate(),
                conversation_id: conversation,
                seq,
                sender_id: members[0],
                client_id: ClientId::generate(),
                content: format!("message {seq}"),
                created_at: Timestamp::now(),
            },
        },
    }
}

fn snapshot(epoch: &str, of: &[(ConversationId, i64, &[UserId])]) -> Positions {
    Positions {
        epoch: epoch.to_owned(),
        positions: of
            .iter()
            .map(|(conversation_id, seq, members)| Standing {
                conversation_id: *conversation_id,
                seq: *seq,
                members: members.to_vec(),
            })
            .collect(),
    }
}

/// The frames that wait for a socket.
fn frames(registration: &Registration) -> Vec<Value> {
    registration
        .mailbox()
        .take(Vec::new())
        .into_iter()
        .map(|item| match item {
            Item::Frame(_, text) => serde_json::from_str(&text).expect("frames are JSON"),
            Item::Beat => Value::Null,
        })
        .collect()
}

fn seqs(hub: &Hub, user: UserId, since: u64) -> Vec<i64> {
    let (positions, _) = hub.positions(user, since);
    positions.iter().map(|position| position.seq).collect()
}

#[test]
fn a_stored_message_reaches_every_socket_of_its_members_and_nobody_else() {
    let (hub, ann, bob, eve) = (
        hub(),
        UserId::generate(),
        UserId::generate(),
        UserId::generate(),
    );
    let conversation = ConversationId::generate();
    let (phone, laptop, other) = (open(&hub, ann), open(&hub, ann), open(&hub, bob));
    let stranger = open(&hub, eve);
    hub.push(&stored(conversation, &[ann, bob], 1));
    for socket in [&phone, &laptop, &other] {
        assert_eq!(frames(socket)[0]["message"]["content"], "message 1");
    }
    assert!(frames(&stranger).is_empty());
}

#[test]
fn sockets_share_the_bytes_of_a_frame() {
    let (hub, ann) = (hub(), UserId::generate());
    let sockets = [open(&hub, ann), open(&hub, ann)];
    hub.push(&stored(ConversationId::generate(), &[ann], 1));
    let [one, two] = sockets
        .each_ref()
        .map(|socket| socket.mailbox().take(Vec::new()));
    let (Item::Frame(_, one), Item::Frame(_, two)) = (&one[0], &two[0]) else {
        panic!("no frames");
    };
    assert!(std::ptr::eq(one.as_str(), two.as_str()));
}

#[test]
fn nothing_falls_between_registration_and_snapshot() {
    let (hub, ann, bob) = (hub(), UserId::generate(), UserId::generate());
    let (known, new) = (ConversationId::generate(), ConversationId::generate());
    let socket = open(&hub, ann);
    // Pushed while messages made the snapshot, and not part of it.
    hub.push(&stored(known, &[ann, bob], 8));
    hub.push(&stored(new, &[ann, bob], 1));
    hub.merge(
        ann,
        Some(socket.mailbox()),
        &snapshot("a", &[(known, 7, &[ann, bob])]),
    );
    let mut reported = seqs(&hub, ann, 0);
    reported.sort_unstable();
    assert_eq!(reported, [1, 8]);
}

#[test]
fn a_snapshot_that_is_newer_than_the_pushes_wins() {
    let (hub, ann) = (hub(), UserId::generate());
    let conversation = ConversationId::generate();
    let socket = open(&hub, ann);
    hub.push(&stored(conversation, &[ann], 8));
    hub.merge(
        ann,
        Some(socket.mailbox()),
        &snapshot("a", &[(conversation, 9, &[ann])]),
    );
    hub.push(&stored(conversation, &[ann], 7));
    assert_eq!(seqs(&hub, ann, 0), [9]);
}

#[test]
fn a_heartbeat_names_what_changed_since_the_last_one() {
    let (hub, ann) = (hub(), UserId::generate());
    let (one, two) = (ConversationId::generate(), ConversationId::generate());
    let socket = open(&hub, ann);
    let start = snapshot("a", &[(one, 3, &[ann]), (two, 5, &[ann])]);
    hub.merge(ann, Some(socket.mailbox()), &start);
    let (all, version) = hub.positions(ann, 0);
    assert_eq!(all.len(), 2);
    assert!(hub.positions(ann, version).0.is_empty());
    hub.push(&stored(two, &[ann], 6));
    assert_eq!(seqs(&hub, ann, version), [6]);
}

#[test]
fn membership_is_that_of_the_newest_event() {
    let (hub, ann, bob, eve) = (
        hub(),
        UserId::generate(),
        UserId::generate(),
        UserId::generate(),
    );
    let conversation = ConversationId::generate();
    let _socket = open(&hub, ann);
    assert_eq!(hub.is_member(conversation, ann), None);
    hub.learn(conversation, &[ann, bob], 0);
    assert_eq!(hub.is_member(conversation, bob), Some(true));
    assert_eq!(hub.is_member(conversation, eve), Some(false));
    hub.push(&stored(conversation, &[ann, eve], 1));
    assert_eq!(hub.is_member(conversation, bob), Some(false));
    assert_eq!(hub.is_member(conversation, eve), Some(true));
}

#[test]
fn the_index_forgets_what_nobody_here_belongs_to() {
    let (hub, ann, bob) = (hub(), UserId::generate(), UserId::generate());
    let conversation = ConversationId::generate();
    let (one, two) = (open(&hub, ann), open(&hub, bob));
    hub.learn(conversation, &[ann, bob], 4);
    drop(one);
    assert_eq!(hub.is_member(conversation, bob), Some(true));
    drop(two);
    assert_eq!(hub.is_member(conversation, bob), None);
    hub.push(&stored(conversation, &[ann, bob], 5));
    let index = hub.index();
    assert!(index.users.is_empty() && index.conversations.is_empty() && index.addresses.is_empty());
}

#[test]
fn who_comes_later_keeps_the_conversation_when_the_others_have_left() {
    let (hub, first, later) = (hub(), UserId::generate(), UserId::generate());
    let (here, members) = (ConversationId::generate(), [first, later]);
    let others = open(&hub, first);
    hub.push(&stored(here, &members, 1));
    let registration = open(&hub, later);
    hub.push(&stored(here, &members, 2));
    assert_eq!(frames(&registration).len(), 1);
    hub.merge(later, None, &snapshot("epoch", &[(here, 2, &members[..])]));
    drop(others);
    assert_eq!(seqs(&hub, later, 0), [2]);
    assert_eq!(hub.is_member(here, later), Some(true));
}

#[test]
fn the_eleventh_socket_of_a_user_finds_no_place() {
    let (hub, ann) = (hub(), UserId::generate());
    let mut sockets: Vec<_> = (0..10).map(|_| open(&hub, ann)).collect();
    assert_eq!(
        hub.add(Caller::at_socket(ann)).err(),
        Some(NoPlace::TooMany)
    );
    sockets.pop();
    sockets.push(open(&hub, ann));
    assert_eq!(
        hub.add(Caller::at_socket(ann)).err(),
        Some(NoPlace::TooMany)
    );
}

#[test]
fn a_full_pod_has_no_place_until_a_socket_closes() {
    let hub = hub();
    let at = |last: u8| {
        let mut mailbox = Caller::at_socket(UserId::generate());
        mailbox.address = [127, 0, 1, last].into();
        mailbox
    };
    let mut sockets: Vec<_> = (0..60)
        .map(|last| hub.add(at(last)).expect("there is a place"))
        .collect();
    assert_eq!(hub.add(at(60)).err(), Some(NoPlace::Full));
    sockets.pop();
    sockets.push(hub.add(at(60)).expect("a place is free again"));
    assert_eq!(hub.add(at(61)).err(), Some(NoPlace::Full));
}

#[test]
fn the_fifty_first_socket_of_an_address_finds_no_place() {
    let hub = hub();
    let sockets: Vec<_> = (0..50).map(|_| open(&hub, UserId::generate())).collect();
    let one_more = || Caller::at_socket(UserId::generate());
    assert_eq!(hub.add(one_more()).err(), Some(NoPlace::TooMany));
    drop(sockets);
    assert!(hub.add(one_more()).is_ok());
}

#[test]
fn a_refused_send_is_told_to_its_sender_only() {
    let (hub, ann, bob) = (hub(), UserId::generate(), UserId::generate());
    let (sender, peer) = (open(&hub, ann), open(&hub, bob));
    hub.push(&Event::MessageRefused(SendRefused {
        conversation_id: ConversationId::generate(),
        sender_id: ann,
        client_id: ClientId::generate(),
        code: Code::NotFound,
        detail: "removed".into(),
    }));
    assert_eq!(frames(&sender)[0]["type"], "refused");
    assert!(frames(&peer).is_empty());
}

#[test]
fn typing_is_for_the_others() {
    let (hub, ann, bob) = (hub(), UserId::generate(), UserId::generate());
    let conversation = ConversationId::generate();
    let (writer, reader) = (open(&hub, ann), open(&hub, bob));
    hub.learn(conversation, &[ann, bob], 0);
    hub.push(&Event::Typing(Typing {
        conversation_id: conversation,
        user_id: ann,
        active: true,
    }));
    assert_eq!(frames(&reader)[0]["type"], "typing");
    assert!(frames(&writer).is_empty());
}

#[test]
fn a_new_conversation_is_known_and_told_to_its_members() {
    let (hub, ann, bob) = (hub(), UserId::generate(), UserId::generate());
    let conversation = ConversationId::generate();
    let socket = open(&hub, ann);
    let member = |user_id| Member {
        user_id,
        username: "name".into(),
        display_name: "Name".into(),
    };
    hub.push(&Event::ConversationCreated(ConversationCreated {
        conversation_id: conversation,
        members: vec![member(ann), member(bob)],
        created_at: Timestamp::now(),
    }));
    assert_eq!(frames(&socket)[0]["type"], "conversation.created");
    assert_eq!(hub.is_member(conversation, ann), Some(true));
    assert_eq!(seqs(&hub, ann, 0), [0]);
}

#[test]
fn an_ended_session_takes_only_its_own_sockets_along() {
    let (hub, ann) = (hub(), UserId::generate());
    let (one, two) = (open(&hub, ann), open(&hub, ann));
    hub.push(&Event::SessionRevoked(SessionRevoked {
        user_id: ann,
        session_id: one.mailbox().peer.session,
        until: Timestamp::now(),
    }));
    assert_eq!(one.mailbox().ending(), Some(End::Revoked));
    assert_eq!(two.mailbox().ending(), None);
}

#[test]
fn a_restored_database_voids_what_other_sockets_were_told() {
    let (hub, ann, bob) = (hub(), UserId::generate(), UserId::generate());
    let conversation = ConversationId::generate();
    let old = open(&hub, ann);
    hub.merge(
        ann,
        Some(old.mailbox()),
        &snapshot("a", &[(conversation, 9, &[ann, bob])]),
    );
    let new = open(&hub, bob);
    hub.merge(
        bob,
        Some(new.mailbox()),
        &snapshot("b", &[(conversation, 4, &[ann, bob])]),
    );
    assert_eq!(old.mailbox().ending(), Some(End::FanOutLost));
    assert_eq!(new.mailbox().ending(), None);
    assert_eq!(seqs(&hub, bob, 0), [4]);
}

#[test]
fn a_hub_that_stops_takes_nobody_in() {
    let (hub, ann) = (hub(), UserId::generate());
    let _socket = open(&hub, ann);
    assert_eq!(hub.stop().len(), 1);
    assert_eq!(
        hub.add(Caller::at_socket(ann)).err(),
        Some(NoPlace::Stopping)
    );
}

#[test]
fn a_heartbeat_on_request_goes_to_all_sockets_of_one_user() {
    let hub = hub();
    let [ada, ben] = [(); 2].map(|()| UserId::generate());
    let sockets = [open(&hub, ada), open(&hub, ada), open(&hub, ben)];
    hub.beat(ada);
    let waiting = sockets.each_ref().map(|one| one.mailbox().take(Vec::new()));
    assert_eq!(waiting, [vec![Item::Beat], vec![Item::Beat], vec![]]);
}

#[test]
fn a_pod_asks_with_the_newest_session_of_a_user_that_goes_on_and_was_not_refused() {
    let (hub, ada) = (hub(), UserId::generate());
    let [older, newer] = [open(&hub, ada), open(&hub, ada)];
    let [older, newer] = [&older, &newer].map(|one| one.mailbox());
    let asks_with = |but: &[Uuid]| hub.socket_of(ada, but).map(|one| one.peer.connection);
    assert_eq!(asks_with(&[]), Some(newer.peer.connection));
    let refused = [newer.peer.connection];
    assert_eq!(asks_with(&refused), Some(older.peer.connection));
    hub.end_revoked(|session| session == older.peer.session);
    assert_eq!(older.ending(), Some(End::Revoked));
    assert_eq!(newer.ending(), None);
    assert_eq!(asks_with(&refused), None);
}
