//! The publisher and the consumers on a real broker.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chat_events::topology::{self, Exchange, Queue};
use chat_events::{
    ClientId, ConversationId, Envelope, Event, MessageSent, Recorded, Service, SessionId,
    SessionRevoked, UserId,
};
use chat_kit::broker::{Broker, HandleError, PodEvent, Publisher};
use chat_kit::config::BrokerArgs;
use chat_kit::health::Readiness;
use chat_local::testing::TestCluster;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(30);

struct Harness {
    args: BrokerArgs,
    stop: CancellationToken,
    _cluster: TestCluster,
}

impl Harness {
    async fn start() -> Self {
        let cluster = chat_local::testing::cluster().await;
        let env: HashMap<_, _> = cluster.env(Service::Messages).into_iter().collect();
        Self {
            args: BrokerArgs {
                rmq_host: env["RMQ_HOST"].clone(),
                rmq_port: env["RMQ_PORT"].parse().expect("a port"),
                rmq_vhost: env["RMQ_VHOST"].clone(),
                rmq_user: env["RMQ_USER"].clone(),
                rmq_password: env["RMQ_PASSWORD"].clone().into(),
            },
            stop: CancellationToken::new(),
            _cluster: cluster,
        }
    }

    fn broker(&self, name: &str) -> Broker {
        Broker::new(&self.args, name.into(), Readiness::default().part("broker"))
    }

    fn publisher(&self) -> Publisher {
        let (publisher, work) = Publisher::new(self.broker("publishes"), self.stop.clone());
        tokio::spawn(work);
        publisher
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn message(conversation_id: ConversationId, number: usize) -> Recorded {
    let sent = MessageSent {
        conversation_id,
        sender_id: UserId::generate(),
        client_id: ClientId::generate(),
        content: number.to_string(),
    };
    Recorded::new(Event::MessageSent(sent), None)
}

fn number(recorded: &Recorded) -> usize {
    match &recorded.event {
        Event::MessageSent(sent) => sent.content.parse().expect("a number"),
        other => panic!("unexpected {other:?}"),
    }
}

fn queue_of(conversation: ConversationId) -> Queue {
    topology::partition_queue(topology::partition(conversation))
}

async fn receive(numbers: &mut mpsc::Receiver<usize>, count: usize) -> Vec<usize> {
    let mut received = Vec::new();
    tokio::time::timeout(DEADLINE, async {
        while received.len() < count {
            received.push(numbers.recv().await.expect("the consumer runs"));
        }
    })
    .await
    .unwrap_or_else(|_| panic!("only {} of {count} arrived", received.len()));
    received
}

/// Feeds the numbers of all events of `queue` to a channel.
fn collect(harness: &Harness, queue: Queue) -> mpsc::Receiver<usize> {
    let (seen, numbers) = mpsc::channel(10_000);
    let (broker, stop) = (harness.broker("consumes"), harness.stop.clone());
    tokio::spawn(async move {
        broker
            .consume(&queue, 64, &stop, |events| {
                let seen = seen.clone();
                async move {
                    for recorded in events.iter() {
                        let sent = seen.send(number(recorded)).await;
                        sent.map_err(|error| HandleError::Failed(error.into()))?;
                    }
                    Ok(())
                }
            })
            .await;
    });
    numbers
}

#[tokio::test]
async fn events_of_one_key_arrive_once_and_in_order() {
    let harness = Harness::start().await;
    let conversation = ConversationId::generate();
    let mut numbers = collect(&harness, queue_of(conversation));
    let events = (0..1_000).map(|n| message(conversation, n)).collect();
    harness
        .publisher()
        .publish_all(events)
        .await
        .expect("published");
    assert_eq!(
        receive(&mut numbers, 1_000).await,
        (0..1_000).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_deleted_queue_is_declared_again_and_loses_no_later_event() {
    let harness = Harness::start().await;
    let conversation = ConversationId::generate();
    let queue = queue_of(conversation);
    let publisher = harness.publisher();
    publisher
        .publish(message(conversation, 0))
        .await
        .expect("published");
    let channel = harness.broker("deletes").channel().await;
    channel
        .queue_delete(queue.name.as_str().into(), QueueDeleteOptions::default())
        .await
        .expect("deleted");
    publisher
        .publish(message(conversation, 1))
        .await
        .expect("published again");
    let mut numbers = collect(&harness, queue);
    assert_eq!(receive(&mut numbers, 1).await, [1]);
}

#[tokio::test]
async fn an_event_that_always_fails_is_a_dead_letter_after_five_tries_and_holds_up_nobody() {
    let harness = Harness::start().await;
    let conversation = ConversationId::generate();
    let queue = queue_of(conversation);
    let tries = Arc::new(AtomicUsize::new(0));
    let (seen, mut numbers) = mpsc::channel(100);
    let (broker, stop) = (harness.broker("consumes"), harness.stop.clone());
    tokio::spawn({
        let (tries, queue) = (tries.clone(), queue.clone());
        async move {
            broker
                .consume(&queue, 64, &stop, |events| {
                    let (seen, tries) = (seen.clone(), tries.clone());
                    async move {
                        if events.iter().any(|event| number(event) == 13) {
                            if events.len() == 1 {
                                tries.fetch_add(1, Ordering::SeqCst);
                            }
                            return Err(HandleError::Failed(anyhow::anyhow!("unlucky")));
                        }
                        for recorded in events.iter() {
                            let _ = seen.send(number(recorded)).await;
                        }
                        Ok(())
                    }
                })
                .await;
        }
    });
    let events = (10..20).map(|n| message(conversation, n)).collect();
    harness
        .publisher()
        .publish_all(events)
        .await
        .expect("published");
    let expected: Vec<_> = (10..20).filter(|n| *n != 13).collect();
    assert_eq!(receive(&mut numbers, 9).await, expected);
    assert_eq!(tries.load(Ordering::SeqCst), 5);
    let letter = dead_letter(&harness, &queue).await;
    assert!(String::from_utf8_lossy(&letter).contains("\"13\""));
}

#[tokio::test]
async fn an_undecodable_body_is_a_dead_letter_and_the_rest_is_handled() {
    let harness = Harness::start().await;
    let conversation = ConversationId::generate();
    let queue = queue_of(conversation);
    let channel = harness.broker("poisons").channel().await;
    channel
        .basic_publish(
            Exchange::DeadLetter.name().into(),
            queue.replay_key().into(),
            BasicPublishOptions::default(),
            b"not an envelope",
            lapin::BasicProperties::default(),
        )
        .await
        .expect("sent")
        .await
        .expect("sent");
    let mut numbers = collect(&harness, queue.clone());
    harness
        .publisher()
        .publish(message(conversation, 7))
        .await
        .expect("published");
    assert_eq!(receive(&mut numbers, 1).await, [7]);
    assert_eq!(dead_letter(&harness, &queue).await, b"not an envelope");
}

#[tokio::test]
async fn a_consumer_that_is_asked_to_stop_hands_its_queue_over_in_order() {
    let harness = Harness::start().await;
    let conversation = ConversationId::generate();
    let queue = queue_of(conversation);
    let first = CancellationToken::new();
    let (seen, mut numbers) = mpsc::channel(10_000);
    let (broker, stop) = (harness.broker("first"), first.clone());
    let running = tokio::spawn({
        let queue = queue.clone();
        async move {
            broker
                .consume(&queue, 8, &stop, |events| {
                    let seen = seen.clone();
                    async move {
                        for recorded in events.iter() {
                            let _ = seen.send(number(recorded)).await;
                            tokio::task::yield_now().await;
                        }
                        Ok(())
                    }
                })
                .await;
        }
    });
    let publisher = harness.publisher();
    for n in 0..200 {
        publisher
            .publish(message(conversation, n))
            .await
            .expect("published");
    }
    let before = receive(&mut numbers, 50).await;
    let mut second = collect(&harness, queue);
    first.cancel();
    running.await.expect("stopped");
    let mut all = before;
    while let Ok(n) = numbers.try_recv() {
        all.push(n);
    }
    let mut highest = *all.last().expect("some");
    while highest < 199 {
        let n = receive(&mut second, 1).await[0];
        assert!(n <= highest + 1, "{n} came before {}", highest + 1);
        highest = highest.max(n);
    }
}

#[tokio::test]
async fn a_pod_is_told_when_its_full_queue_has_lost_events_and_hears_the_later_ones() {
    const MORE_THAN_FIT: usize = 21_000;
    let harness = Harness::start().await;
    let (seen, mut events) = mpsc::channel(1);
    let (broker, stop) = (harness.broker("hears"), harness.stop.clone());
    tokio::spawn(async move {
        broker
            .consume_pod_queue(Service::Messages, "test", &stop, |event| {
                let seen = seen.clone();
                async move {
                    let _ = seen.send(event).await;
                }
            })
            .await;
    });
    let mut next = async || {
        let event = tokio::time::timeout(DEADLINE, events.recv()).await;
        event.expect("in time").expect("the pod listens")
    };
    assert!(matches!(next().await, PodEvent::Subscribed));

    let channel = harness.broker("floods").channel().await;
    let revoked = Event::SessionRevoked(SessionRevoked {
        session_id: SessionId::generate(),
        user_id: UserId::generate(),
        until: jiff::Timestamp::now(),
    });
    let (exchange, key) = (revoked.exchange(), revoked.routing_key());
    let body = Envelope::new(vec![Recorded::new(revoked, None)]);
    let body = serde_json::to_vec(&body).expect("JSON");
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirms");
    let publish = async |count| {
        for _ in 0..count {
            let (exchange, key) = (exchange.name().into(), key.as_str().into());
            let options = BasicPublishOptions::default();
            let sent = channel.basic_publish(exchange, key, options, &body, Default::default());
            drop(sent.await.expect("sent"));
        }
        channel.wait_for_confirms().await.expect("confirmed");
    };
    // The pod takes nothing until the broker has them all.
    publish(MORE_THAN_FIT).await;
    let mut heard = 0;
    loop {
        match next().await {
            PodEvent::Events(events) => heard += events.len(),
            PodEvent::Lost => break,
            PodEvent::Subscribed => panic!("nothing was lost before"),
        }
    }
    assert!(heard < MORE_THAN_FIT, "{heard}");
    assert!(matches!(next().await, PodEvent::Subscribed));

    publish(1).await;
    while !matches!(next().await, PodEvent::Events(_)) {}
}

/// Waits for the first letter in the queue's dead-letter queue.
async fn dead_letter(harness: &Harness, queue: &Queue) -> Vec<u8> {
    let channel = harness.broker("looks").channel().await;
    tokio::time::timeout(DEADLINE, async {
        loop {
            let got = channel
                .basic_get(
                    queue.dead_letters().into(),
                    BasicGetOptions { no_ack: true },
                )
                .await
                .expect("the queue exists");
            match got {
                Some(letter) => return letter.delivery.data.clone(),
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await
    .expect("a dead letter")
}
