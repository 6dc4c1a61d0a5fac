//! A session over channels instead of a socket, with a publisher whose events
//! the test takes and confirms. Time is paused.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message};
use chat_events::{ClientId, ConversationId, Event, LogEvent, UserId, limits};
use chat_kit::broker::{Outgoing, Publisher};
use chat_kit::socket::{End, Item, SocketArgs};
use futures::channel::mpsc::{self, SendError};
use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Session, Surroundings, UNDER_WAY};
use crate::hub::{Caller, Hub, Mailbox};
use crate::messages::Messages;

mod ends;

struct Pipe {
    from_peer: mpsc::Receiver<Result<Message, SendError>>,
    to_peer: mpsc::Sender<Message>,
}

impl Stream for Pipe {
    type Item = Result<Message, SendError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.from_peer.poll_next_unpin(cx)
    }
}

impl Sink<Message> for Pipe {
    type Error = SendError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.to_peer.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Message) -> Result<(), SendError> {
        self.to_peer.start_send_unpin(item)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.to_peer.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.to_peer.poll_close_unpin(cx)
    }
}

/// The hub of a pod, and the broker's side of its publisher.
struct Pod {
    around: Arc<Surroundings>,
    broker: tokio::sync::mpsc::Receiver<Outgoing>,
}

fn pod() -> Pod {
    pod_with(1_000)
}

fn pod_with(waiting: usize) -> Pod {
    let (publisher, broker) = Publisher::pair(waiting);
    let hub = Hub::new(SocketArgs {
        sockets_per_user: 10,
        sockets_per_address: 50,
        max_sockets: 60,
        heartbeat_seconds: 20,
    });
    // Nobody listens there: messages is away.
    let messages = Messages::new(reqwest::Client::new(), "http://127.0.0.1:9", "");
    let around = Arc::new(Surroundings {
        hub,
        messages,
        publisher,
        heartbeat: 20,
    });
    Pod { around, broker }
}

struct Peer {
    user: UserId,
    mailbox: Arc<Mailbox>,
    to_server: mpsc::Sender<Result<Message, SendError>>,
    from_server: mpsc::Receiver<Message>,
    session: JoinHandle<End>,
}

impl Pod {
    fn hub(&self) -> &Arc<Hub> {
        &self.around.hub
    }

    /// A peer whose connection holds `capacity` messages.
    fn connect_with(&self, user: UserId, capacity: usize) -> Peer {
        let registration = self.hub().add(Caller::at_socket(user)).expect("a place");
        let mailbox = registration.mailbox().clone();
        let (to_server, from_peer) = mpsc::channel(1_000);
        let (to_peer, from_server) = mpsc::channel(capacity);
        let pipe = Pipe { from_peer, to_peer };
        let session = Session::new(pipe, registration, self.around.clone());
        Peer {
            user,
            mailbox,
            to_server,
            from_server,
            session: tokio::spawn(session.run("epoch".into())),
        }
    }

    async fn connect(&self) -> Peer {
        let mut peer = self.connect_with(UserId::generate(), 1_000);
        assert_eq!(peer.frame().await["type"], "hello");
        peer
    }

    async fn published(&mut self) -> Outgoing {
        self.broker.recv().await.expect("an event")
    }

    /// Lets everything run that can.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

impl Peer {
    async fn say(&mut self, frame: Value) {
        let text = Message::text(frame.to_string());
        self.to_server
            .send(Ok(text))
            .await
            .expect("the server listens");
    }

    async fn create(&mut self, conversation: ConversationId, content: &str) -> ClientId {
        let client_id = ClientId::generate();
        self.say(json!({
            "type": "message.create",
            "client_id": client_id,
            "conversation_id": conversation,
            "content": content,
        }))
        .await;
        client_id
    }

    async fn message(&mut self) -> Message {
        self.from_server.next().await.expect("a message")
    }

    async fn frame(&mut self) -> Value {
        match self.message().await {
            Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("{other:?}"),
        }
    }

    async fn close_code(mut self) -> (u16, End) {
        loop {
            if let Message::Close(Some(CloseFrame { code, .. })) = self.message().await {
                drop(self.to_server);
                return (code, self.session.await.expect("no panic"));
            }
        }
    }

    fn hears_nothing(&mut self) -> bool {
        self.from_server.next().now_or_never().is_none()
    }
}

fn read_mark(conversation: ConversationId, seq: i64, members: &[UserId]) -> Event {
    Event::MessageStored {
        members: members.to_vec(),
        entry: LogEvent::Read {
            conversation_id: conversation,
            seq,
            user_id: members[0],
            up_to: 1,
            at: Timestamp::now(),
        },
    }
}

fn content(outgoing: &Outgoing) -> &str {
    match &outgoing.event.event {
        Event::MessageSent(sent) => &sent.content,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn hello_comes_first_and_counts_what_was_pushed_before_it() {
    let (pod, user, conversation) = (pod(), UserId::generate(), ConversationId::generate());
    let mut peer = pod.connect_with(user, 100);
    pod.hub().push(&read_mark(conversation, 5, &[user]));
    let hello = peer.frame().await;
    assert_eq!(hello["type"], "hello");
    assert_eq!(hello["epoch"], "epoch");
    assert_eq!(
        hello["positions"],
        json!([{"conversation_id": conversation, "seq": 5}])
    );
    assert_eq!(peer.frame().await["type"], "message.read");
}

#[tokio::test(start_paused = true)]
async fn sends_are_published_in_order_without_waiting_for_confirms() {
    let (mut pod, conversation) = (pod(), ConversationId::generate());
    let mut peer = pod.connect().await;
    pod.hub().learn(conversation, &[peer.user], 0);
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(peer.create(conversation, &number.to_string()).await);
    }
    let mut under_way = Vec::new();
    for number in 0..20 {
        let outgoing = pod.published().await;
        assert_eq!(content(&outgoing), number.to_string());
        under_way.push(outgoing);
    }
    pod.settle().await;
    assert!(peer.hears_nothing(), "nothing is confirmed yet");
    for (outgoing, id) in under_way.into_iter().zip(ids) {
        outgoing.confirm();
        assert_eq!(
            peer.frame().await,
            json!({"type": "accepted", "client_id": id})
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_without_a_confirm_may_be_repeated_after_five_seconds() {
    let (mut pod, conversation) = (pod(), ConversationId::generate());
    let mut peer = pod.connect().await;
    pod.hub().learn(conversation, &[peer.user], 0);
    let id = peer.create(conversation, "hello?").await;
    let started = tokio::time::Instant::now();
    let _silent = pod.published().await;
    let error = peer.frame().await;
    assert_eq!(error["code"], "unavailable");
    assert_eq!(error["client_id"], json!(id));
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_broker_with_a_full_queue_before_it_is_unavailable_at_once() {
    let (pod, conversation) = (pod_with(1), ConversationId::generate());
    let mut peer = pod.connect().await;
    pod.hub().learn(conversation, &[peer.user], 0);
    peer.create(conversation, "one").await;
    let second = peer.create(conversation, "two").await;
    let error = peer.frame().await;
    assert_eq!(error["code"], "unavailable");
    assert_eq!(error["client_id"], json!(second));
}

#[tokio::test(start_paused = true)]
async fn sixty_four_sends_are_under_way_and_the_others_wait_in_the_socket() {
    let (mut pod, conversation) = (pod(), ConversationId::generate());
    let mut peer = pod.connect().await;
    pod.hub().learn(conversation, &[peer.user], 0);
    for number in 0..70 {
        peer.create(conversation, &number.to_string()).await;
    }
    let mut under_way = Vec::new();
    for _ in 0..UNDER_WAY {
        under_way.push(pod.published().await);
    }
    pod.settle().await;
    assert!(pod.broker.try_recv().is_err());
    under_way.pop().expect("one of them").confirm();
    assert_eq!(content(&pod.published().await), UNDER_WAY.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_refused_and_nothing_is_published() {
    let (mut pod, conversation) = (pod(), ConversationId::generate());
    let member = pod.connect().await;
    let mut stranger = pod.connect().await;
    pod.hub().learn(conversation, &[member.user], 0);
    let id = stranger.create(conversation, "let me in").await;
    let refused = stranger.frame().await;
    assert_eq!(refused["type"], "refused");
    assert_eq!(refused["code"], "not_found");
    assert_eq!(refused["client_id"], json!(id));
    let read = json!({"type": "message.read", "conversation_id": conversation, "up_to": 1});
    stranger.say(read).await;
    assert_eq!(stranger.frame().await["code"], "not_found");
    let typing = json!({"type": "typing", "conversation_id": conversation, "active": true});
    stranger.say(typing).await;
    pod.settle().await;
    assert!(pod.broker.try_recv().is_err());
}

#[tokio::test]
async fn a_send_that_cannot_be_authorised_may_be_repeated_later() {
    let mut pod = pod();
    let mut peer = pod.connect().await;
    let id = peer.create(ConversationId::generate(), "anybody?").await;
    let error = peer.frame().await;
    assert_eq!(error["type"], "error");
    assert_eq!(error["code"], "unavailable");
    assert_eq!(error["client_id"], json!(id));
    assert!(pod.broker.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn bad_frames_are_answered_and_the_socket_stays() {
    let pod = pod();
    let mut peer = pod.connect().await;
    for bad in [
        Message::text("{"),
        Message::text("{\"type\":\"message.read\"}"),
        Message::binary(vec![1, 2, 3]),
    ] {
        peer.to_server.send(Ok(bad)).await.expect("open");
        assert_eq!(peer.frame().await["code"], "invalid_frame");
    }
    assert!(!peer.session.is_finished());
}

#[tokio::test(start_paused = true)]
async fn too_many_frames_are_throttled_and_then_end_the_socket() {
    let pod = pod();
    let mut peer = pod.connect().await;
    for _ in 0..limits::FRAMES_PER_WINDOW {
        peer.say(json!(1)).await;
        assert_eq!(peer.frame().await["code"], "invalid_frame");
    }
    let id = peer.create(ConversationId::generate(), "one more").await;
    let error = peer.frame().await;
    assert_eq!(error["code"], "throttled");
    assert_eq!(error["client_id"], json!(id));
    for _ in 0..40 {
        peer.say(json!(1)).await;
    }
    assert_eq!(peer.close_code().await, (1008, End::TooManyFrames));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_names_changes_and_every_fourth_names_all() {
    let (pod, user) = (pod(), UserId::generate());
    let (quiet, busy) = (ConversationId::generate(), ConversationId::generate());
    let mut peer = pod.connect_with(user, 100);
    pod.hub().learn(quiet, &[user], 3);
    pod.hub().learn(busy, &[user], 7);
    assert_eq!(
        peer.frame().await["positions"].as_array().map(Vec::len),
        Some(2)
    );
    let mut named = Vec::new();
    for beat in 1..=5 {
        if beat == 2 {
            pod.hub().learn(busy, &[user], 8);
        }
        peer.mailbox.post(Item::Beat);
        let heartbeat = peer.frame().await;
        assert_eq!(heartbeat["type"], "heartbeat");
        named.push(heartbeat["positions"].as_array().map_or(0, Vec::len));
        assert!(matches!(peer.message().await, Message::Ping(_)));
    }
    assert_eq!(named, [0, 1, 0, 2, 0]);
}

#[test]
fn a_session_at_rest_is_small() {
    let pod = pod();
    let registration = pod
        .hub()
        .add(Caller::at_socket(UserId::generate()))
        .expect("a place");
    let (_, from_peer) = mpsc::channel(1);
    let (to_peer, _) = mpsc::channel(1);
    let session = Session::new(
        Pipe { from_peer, to_peer },
        registration,
        pod.around.clone(),
    );
    let size = size_of_val(&*session) + size_of_val(&session.run("epoch".into()));
    assert!(size <= 1_536, "{size} bytes");
}
