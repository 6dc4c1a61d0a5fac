//! Two pods of every service behind NGINX.

use std::time::Duration;

use anyhow::ensure;
use chat_e2e::{Chat, ChatClient, ChatSocket, Person, Talk, await_until};
use chat_events::Service;
use futures::future::try_join_all;
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);
const RECOVERY: Duration = Duration::from_secs(60);

#[tokio::test]
async fn two_users_on_different_gateway_pods_chat_normally_with_replicas() -> anyhow::Result<()> {
    let chat = Chat::replicas(2).await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let doors = [0, 1].map(|pod| chat.door(Service::SocketHandler, pod));
    let mut a = ChatSocket::open(&ada.at(&doors[0])).await?;
    let mut b = ChatSocket::open(&ben.at(&doors[1])).await?;
    for _ in 0..10 {
        let sent = a.say(conversation, "from pod 0").await?;
        ensure!(b.await_stored(sent).await? == a.await_stored(sent).await?);
        let sent = b.say(conversation, "from pod 1").await?;
        ensure!(a.await_stored(sent).await? == b.await_stored(sent).await?);
    }
    // Through both pods of messages, the history is the same.
    let histories = try_join_all([0, 1].map(|pod| {
        let reader = ada.at(&chat.door(Service::Messages, pod));
        async move { reader.history(conversation).await }
    }))
    .await?;
    ensure!(histories[0] == histories[1] && histories[0].len() == 20);
    Ok(())
}

#[tokio::test]
async fn a_write_through_one_pod_is_read_through_the_other() -> anyhow::Result<()> {
    let chat = Chat::replicas(2).await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let [one, two] = [0, 1].map(|pod| ada.at(&chat.door(Service::Users, pod)));
    let path = format!("/api/users?q={}", ada.username);
    await_until("the new account", SOON, async || {
        let page = two.get(&path).await?.expect(200)?;
        Ok((page["users"][0]["id"] == json!(ada.id)).then_some(()))
    })
    .await?;
    for number in 0..20 {
        let name = format!("Ada {number}");
        two.get(&path).await?.expect(200)?;
        one.patch("/api/users/me", &json!({ "display_name": name }))
            .await?
            .expect(200)?;
        let page = two.get(&path).await?.expect(200)?;
        ensure!(page["users"][0]["display_name"] == json!(name), "{page}");
    }
    Ok(())
}

#[tokio::test]
async fn a_sign_out_through_one_pod_counts_at_every_other_within_a_second() -> anyhow::Result<()> {
    let chat = Chat::replicas(2).await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let thief = chat_e2e::Browser::new(&chat.site)?;
    thief.set_cookie("auth", &ada.cookie("auth").unwrap_or_default());
    let ways = [
        (Service::Auth, "/api/auth/currentuser"),
        (Service::Users, "/api/users"),
        (Service::Messages, "/api/conversations"),
        (Service::Notifications, "/api/notifications"),
    ];
    let doors: Vec<_> = ways
        .iter()
        .flat_map(|(service, path)| [0, 1].map(|pod| (chat.door(*service, pod), *path)))
        .collect();
    for (door, path) in &doors {
        let mut through = thief.clone();
        through.site = door.clone();
        through.get(path).await?.expect(200)?;
    }
    ada.sign_out().await?;
    await_until("refused everywhere", Duration::from_secs(1), async || {
        let answers = try_join_all(doors.iter().map(|(door, path)| {
            let mut through = thief.clone();
            through.site = door.clone();
            async move { through.get(path).await }
        }))
        .await?;
        Ok(answers
            .iter()
            .all(|answer| answer.status == 401)
            .then_some(()))
    })
    .await
}

#[tokio::test]
async fn kill_any_one_pod_during_1000_sends_all_acknowledged_are_stored_once_and_shown_once()
-> anyhow::Result<()> {
    let chat = Chat::replicas(2).await?;
    // A tab may send 120 frames a minute.
    let talk = Talk::start_with(&chat, 8).await?;
    for service in Service::ALL {
        for pod in [0, 1] {
            talk.say_unacknowledged(60);
            chat.pod(service, pod).kill().await?;
            talk.say(40).await?;
            chat.pod(service, pod).start().await?;
        }
    }
    talk.finish(1_000, RECOVERY).await
}

#[tokio::test]
async fn rolling_update_under_load_drops_no_acknowledged_message() -> anyhow::Result<()> {
    let chat = Chat::replicas(2).await?;
    let talk = Talk::start(&chat).await?;
    let mut said = 0;
    for service in Service::ALL {
        for pod in [0, 1] {
            talk.say_unacknowledged(6);
            chat.pod(service, pod).stop().await?;
            talk.say_unacknowledged(6);
            chat.pod(service, pod).start().await?;
            said += 12;
        }
    }
    talk.finish(said, RECOVERY).await
}

#[tokio::test]
async fn many_conversations_share_the_partitions_of_two_pods() -> anyhow::Result<()> {
    let chat = Chat::replicas(2).await?;
    let hub = Person::sign_up(&chat.site, "hub").await?;
    let others = try_join_all((0..12).map(|_| Person::sign_up(&chat.site, "spoke"))).await?;
    let client = ChatClient::start(&hub);
    client.await_connected().await?;
    let mut conversations = Vec::new();
    for other in &others {
        let conversation = await_until("the conversation", SOON, async || {
            hub.conversation_with(other).await.map(Some)
        });
        conversations.push(conversation.await?);
    }
    for number in 0..5 {
        for conversation in &conversations {
            client.send(*conversation, &format!("message {number}"));
        }
    }
    client.await_outbox_empty(RECOVERY).await?;
    let expected: Vec<_> = (0..5).map(|number| format!("message {number}")).collect();
    for (other, conversation) in others.iter().zip(&conversations) {
        ensure!(other.texts(*conversation).await? == expected);
    }
    client.stop().await
}
