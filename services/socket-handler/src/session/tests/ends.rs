//! How a session ends, and what is said until then.

use std::time::Duration;

use chat_events::{ConversationId, Event, SessionRevoked, UserId};
use chat_kit::broker::Outgoing;
use chat_kit::socket::End;
use jiff::Timestamp;
use serde_json::json;

use super::{pod, read_mark};

#[tokio::test(start_paused = true)]
async fn a_stalled_reader_is_closed_and_delays_nobody() {
    let (pod, ann, bob) = (pod(), UserId::generate(), UserId::generate());
    let conversation = ConversationId::generate();
    let stalled = pod.connect_with(ann, 1);
    let mut reader = pod.connect_with(bob, 1);
    assert_eq!(reader.frame().await["type"], "hello");
    for seq in 1..=400 {
        pod.hub().push(&read_mark(conversation, seq, &[ann, bob]));
        assert_eq!(reader.frame().await["seq"], seq);
    }
    assert_eq!(stalled.mailbox.ending(), Some(End::SlowReader));
    assert_eq!(stalled.close_code().await, (4008, End::SlowReader));
    assert!(!reader.session.is_finished());
}

#[tokio::test(start_paused = true)]
async fn each_end_has_its_close_code() {
    for (end, code) in [
        (End::Stopping, 1001),
        (End::TooBig, 1009),
        (End::Expired, 4001),
        (End::Revoked, 4003),
        (End::FanOutLost, 4009),
    ] {
        let pod = pod();
        let peer = pod.connect().await;
        peer.mailbox.end(end);
        assert_eq!(peer.close_code().await, (code, end));
    }
}

#[tokio::test(start_paused = true)]
async fn an_ended_session_is_closed_even_while_its_peer_does_not_read() {
    let (pod, user) = (pod(), UserId::generate());
    let peer = pod.connect_with(user, 0);
    for seq in 1..=10 {
        let event = read_mark(ConversationId::generate(), seq, &[user]);
        pod.hub().push(&event);
    }
    pod.settle().await;
    let started = tokio::time::Instant::now();
    pod.hub().push(&Event::SessionRevoked(SessionRevoked {
        user_id: user,
        session_id: peer.mailbox.peer.session,
        until: Timestamp::now(),
    }));
    assert_eq!(peer.session.await.expect("no panic"), End::Revoked);
    assert!(started.elapsed() <= Duration::from_secs(2));
    drop(peer.from_server);
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_closes_is_no_longer_typing() {
    let (mut pod, conversation) = (pod(), ConversationId::generate());
    let mut peer = pod.connect().await;
    pod.hub().learn(conversation, &[peer.user], 0);
    for _ in 0..3 {
        let typing = json!({"type": "typing", "conversation_id": conversation, "active": true});
        peer.say(typing).await;
    }
    let told = |outgoing: Outgoing| match outgoing.event.event {
        Event::Typing(typing) => typing.active,
        other => panic!("{other:?}"),
    };
    assert!(told(pod.published().await));
    pod.settle().await;
    assert!(
        pod.broker.try_recv().is_err(),
        "more than once in 3 s is too much"
    );
    drop(peer.to_server);
    assert!(!told(pod.published().await));
    assert_eq!(peer.session.await.expect("no panic"), End::Gone);
    assert_eq!(pod.hub().is_member(conversation, peer.user), None);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_is_answered_before_the_server_stops() {
    let (mut pod, conversation) = (pod(), ConversationId::generate());
    let mut peer = pod.connect().await;
    pod.hub().learn(conversation, &[peer.user], 0);
    let id = peer.create(conversation, "last words").await;
    let outgoing = pod.published().await;
    peer.mailbox.end(End::Stopping);
    pod.settle().await;
    outgoing.confirm();
    assert_eq!(
        peer.frame().await,
        json!({"type": "accepted", "client_id": id})
    );
    assert_eq!(peer.close_code().await, (1001, End::Stopping));
}
