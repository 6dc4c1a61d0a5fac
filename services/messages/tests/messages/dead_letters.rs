//! What cannot be handled goes to the dead-letter queue, and comes back on request.

use chat_events::{
    ClientId, ConversationId, Envelope, Event, MessageSent, Recorded, Service, UserId, UserRef,
    topology,
};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use secrecy::ExposeSecret;

use crate::stage::{Stage, broker_args, until};

async fn channel(stage: &Stage) -> (Connection, Channel) {
    let args = broker_args(&stage.cluster, Service::Messages);
    let mut uri = AMQPUri::default();
    uri.authority.host = args.rmq_host.clone();
    uri.authority.port = args.rmq_port;
    uri.authority.userinfo.username = args.rmq_user.clone();
    uri.authority.userinfo.password = args.rmq_password.expose_secret().to_owned();
    uri.vhost = args.rmq_vhost.clone();
    let connection = Connection::connect_uri(uri, ConnectionProperties::default())
        .await
        .expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirms");
    (connection, channel)
}

async fn depth(channel: &Channel, queue: &str) -> u32 {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.into(), options, FieldTable::default())
        .await
        .expect("the queue")
        .message_count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecodable_event_is_put_aside_after_five_tries_and_the_rest_goes_on() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, _, conversation) = stage.pair(&replica).await;
    let queue = topology::partition_queue(topology::partition(conversation));
    let (_connection, channel) = channel(&stage).await;
    // Readable, but of another partition: not ours to number.
    let elsewhere = std::iter::repeat_with(ConversationId::generate)
        .find(|other| topology::partition(*other) != topology::partition(conversation))
        .expect("another partition");
    let astray = Recorded::new(
        Event::MessageSent(MessageSent {
            conversation_id: elsewhere,
            sender_id: anna.id,
            client_id: ClientId::generate(),
            content: "astray".into(),
        }),
        None,
    );
    let astray = serde_json::to_vec(&Envelope::new(vec![astray])).expect("JSON");
    let poison: [&[u8]; 5] = [
        &astray,
        b"not json",
        b"\xff\xfe",
        br#"{"v":2,"events":[]}"#,
        br#"{"v":1,"events":[{"id":"x"}]}"#,
    ];
    for body in poison {
        let confirm = channel
            .basic_publish(
                "MessageEventsExchange".into(),
                queue.bindings[0].1.as_str().into(),
                BasicPublishOptions::default(),
                body,
                BasicProperties::default().with_delivery_mode(2),
            )
            .await
            .expect("a publish")
            .await
            .expect("a confirm");
        assert!(confirm.is_ack());
    }
    assert_eq!(stage.say(conversation, &anna, "behind the poison").await, 1);
    until("all are put aside", async || {
        (depth(&channel, &queue.dead_letters()).await == 5).then_some(())
    })
    .await;
    assert_eq!(stage.say(conversation, &anna, "and on").await, 2);
    let metrics = reqwest::get(replica.admin_url("/metrics"))
        .await
        .expect("metrics");
    let metrics = metrics.text().await.expect("text");
    let counted = format!("chat_dead_letters_total{{queue=\"{}\"}} 5", queue.name);
    assert!(metrics.contains(&counted), "{metrics}");
    let tries = format!("chat_events_failed_total{{queue=\"{}\"}} 25", queue.name);
    assert!(metrics.contains(&tries), "{metrics}");
    let listed = stage.run(&["dead-letters", "list"]).await;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.contains("not json") && listed.contains("5 dead letters found"),
        "{listed}"
    );
    until("listing leaves them there", async || {
        (depth(&channel, &queue.dead_letters()).await == 5).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_event_is_handled_once_its_cause_is_mended() {
    let (stage, _replica) = Stage::with_replica().await;
    let (_connection, channel) = channel(&stage).await;
    let rename = async |sql: &'static str| {
        sqlx::query(sql)
            .execute(&stage.pool)
            .await
            .expect("a change");
    };
    rename("alter table people rename to broken").await;
    let anna = UserRef {
        user_id: UserId::generate(),
        username: "anna".into(),
        display_name: "Anna".into(),
        version: 1,
    };
    stage.publish(Event::UserRegistered(anna)).await;
    until("it is put aside", async || {
        (depth(&channel, "MESSAGES_SRV_UserQueue.dead").await == 1).then_some(())
    })
    .await;
    rename("alter table broken rename to people").await;
    let replayed = stage.run(&["dead-letters", "replay"]).await;
    let replayed = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(replayed.contains("1 dead letters replayed"), "{replayed}");
    until("the person is known", async || {
        (stage.count("select count(*) from people").await == 1).then_some(())
    })
    .await;
    assert_eq!(depth(&channel, "MESSAGES_SRV_UserQueue.dead").await, 0);
}
