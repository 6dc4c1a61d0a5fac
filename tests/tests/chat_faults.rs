//! Servers and services that stop in the middle of a conversation: nothing
//! acknowledged is lost, and everything is shown once and in one order.

use std::time::Duration;

use anyhow::ensure;
use chat_e2e::{Chat, ChatClient, Person, Talk, await_until};
use chat_events::Service;
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);
/// Back-off of clients and services, and a broker that starts.
const RECOVERY: Duration = Duration::from_secs(60);

#[tokio::test]
async fn broker_restart_loses_nothing_acknowledged() -> anyhow::Result<()> {
    let (chat, stores) = Chat::own().await?;
    let talk = Talk::start(&chat).await?;
    talk.say(20).await?;
    stores.rabbitmq.stop().await?;
    talk.say_unacknowledged(10);
    stores.rabbitmq.start().await?;
    talk.say(10).await?;
    talk.finish(40, RECOVERY).await
}

#[tokio::test]
async fn a_killed_broker_loses_nothing_acknowledged_and_history_goes_on_meanwhile()
-> anyhow::Result<()> {
    let (chat, stores) = Chat::own().await?;
    let talk = Talk::start(&chat).await?;
    talk.say(20).await?;
    talk.say_unacknowledged(10);
    stores.rabbitmq.kill().await?;
    talk.say_unacknowledged(10);
    let history = talk.ada.person.texts(talk.conversation).await?;
    ensure!(
        history.len() >= 20,
        "history without the broker: {history:?}"
    );
    talk.ada.person.sign_in_elsewhere().await?;
    stores.rabbitmq.start().await?;
    talk.finish(40, RECOVERY).await
}

#[tokio::test]
async fn a_killed_database_loses_nothing_acknowledged() -> anyhow::Result<()> {
    let (chat, stores) = Chat::own().await?;
    let talk = Talk::start(&chat).await?;
    talk.say(20).await?;
    talk.say_unacknowledged(5);
    stores.postgres.kill().await?;
    talk.say_unacknowledged(10);
    // The broker holds what nobody could store yet.
    let answer = talk
        .ada
        .person
        .get(&format!("/api/messages?conversation={}", talk.conversation))
        .await?;
    ensure!(matches!(answer.status, 200 | 503 | 504), "{answer}");
    stores.postgres.start().await?;
    talk.finish(35, RECOVERY).await
}

#[tokio::test]
async fn survives_restart_of_every_pod_including_the_database_pod() -> anyhow::Result<()> {
    let (chat, stores) = Chat::own().await?;
    let talk = Talk::start(&chat).await?;
    talk.say(20).await?;
    let before = talk.ada.person.texts(talk.conversation).await?;
    for service in Service::ALL {
        chat.pod(service, 0).stop().await?;
    }
    for store in [&stores.rabbitmq, &stores.redis, &stores.postgres] {
        store.stop().await?;
        store.start().await?;
    }
    for service in Service::ALL {
        chat.pod(service, 0).start().await?;
    }
    let after = await_until("history", RECOVERY, async || {
        Ok(Some(talk.ben.person.texts(talk.conversation).await?))
    })
    .await?;
    ensure!(before == after, "{before:?} became {after:?}");
    talk.say(10).await?;
    talk.finish(30, RECOVERY).await
}

#[tokio::test]
async fn redis_down_degrades_not_fails() -> anyhow::Result<()> {
    let (chat, stores) = Chat::own().await?;
    let talk = Talk::start(&chat).await?;
    talk.say(10).await?;
    stores.redis.kill().await?;
    talk.say(10).await?;
    // Reading, signing up and signing in go on as well.
    let ada = &talk.ada.person;
    ensure!(ada.texts(talk.conversation).await?.len() == 20);
    ada.get("/api/users?sort=username").await?.expect(200)?;
    ada.patch("/api/users/me", &json!({ "display_name": "Without Redis" }))
        .await?
        .expect(200)?;
    let page = ada
        .get(&format!("/api/users?q={}", ada.username))
        .await?
        .expect(200)?;
    ensure!(
        page["users"][0]["display_name"] == "Without Redis",
        "{page}"
    );
    Person::sign_up(&chat.site, "new").await?.sign_in().await?;
    talk.ben.go_offline();
    talk.ben.go_online();
    stores.redis.start().await?;
    let page = ada
        .get(&format!("/api/users?q={}", ada.username))
        .await?
        .expect(200)?;
    ensure!(
        page["users"][0]["display_name"] == "Without Redis",
        "stale: {page}"
    );
    talk.finish(20, RECOVERY).await
}

#[tokio::test]
async fn broker_down_at_sign_up_user_appears_in_users_service_once_it_returns() -> anyhow::Result<()>
{
    let (chat, stores) = Chat::own().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    stores.rabbitmq.stop().await?;
    let ben = Person::sign_up(&chat.site, "ben").await?;
    let path = format!("/api/users/{}", ben.id);
    ada.get(&path).await?.expect_problem(404, "not_found")?;
    stores.rabbitmq.start().await?;
    await_until("the user who signed up meanwhile", RECOVERY, async || {
        let answer = ada.get(&path).await?;
        Ok((answer.status == 200 && answer.body["username"] == json!(ben.username)).then_some(()))
    })
    .await?;
    // And they can talk.
    let conversation = await_until("the conversation", SOON, async || {
        ada.conversation_with(&ben).await.map(Some)
    })
    .await?;
    let (one, two) = (ChatClient::start(&ada), ChatClient::start(&ben));
    one.send(conversation, "welcome");
    two.await_texts(conversation, 1, RECOVERY).await?;
    one.stop().await?;
    two.stop().await
}

#[tokio::test]
async fn stop_one_consumer_act_start_it_state_converges() -> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let talk = Talk::start(&chat).await?;
    let ada = &talk.ada.person;
    for service in [Service::Users, Service::Notifications, Service::Messages] {
        chat.pod(service, 0).stop().await?;
    }
    talk.say_unacknowledged(10);
    // Accepted by the broker, though nobody can store them.
    talk.ada
        .await_state("accepted", RECOVERY, |state| {
            (state.accepted.len() >= 5).then_some(())
        })
        .await?;
    let cleo = Person::sign_up(&chat.site, "cleo").await?;
    for service in [Service::Users, Service::Notifications, Service::Messages] {
        chat.pod(service, 0).start().await?;
    }
    await_until("Cleo among the users", RECOVERY, async || {
        let answer = ada.get(&format!("/api/users/{}", cleo.id)).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    let unread = await_until("the notices", RECOVERY, async || {
        let list = talk
            .ben
            .person
            .get("/api/notifications")
            .await?
            .expect(200)?;
        Ok((list["unread"] == 5).then_some(list))
    })
    .await?;
    ensure!(
        unread["notices"].as_array().map(Vec::len) == Some(5),
        "{unread}"
    );
    talk.finish(10, RECOVERY).await
}

#[tokio::test]
async fn each_service_stopped_and_started_in_the_middle_of_a_conversation() -> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let talk = Talk::start(&chat).await?;
    let mut said = 0;
    for service in Service::ALL {
        talk.say(4).await?;
        chat.pod(service, 0).stop().await?;
        talk.say_unacknowledged(6);
        chat.pod(service, 0).start().await?;
        talk.say(2).await?;
        said += 12;
    }
    talk.finish(said, RECOVERY).await
}

#[tokio::test]
async fn each_service_killed_and_started_in_the_middle_of_a_conversation() -> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let talk = Talk::start(&chat).await?;
    let mut said = 0;
    for service in Service::ALL {
        talk.say_unacknowledged(8);
        chat.pod(service, 0).kill().await?;
        talk.say_unacknowledged(4);
        chat.pod(service, 0).start().await?;
        said += 12;
    }
    talk.finish(said, RECOVERY).await
}
