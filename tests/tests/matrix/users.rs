//! users is away.

use anyhow::ensure;
use chat_e2e::{Chat, await_until};
use chat_events::Service;
use serde_json::json;

use crate::recorded::{RECOVERY, Recorded};

#[tokio::test]
async fn without_users_messages_and_names_go_on_and_a_profile_has_to_wait() -> anyhow::Result<()> {
    let talk = Recorded::start(Chat::alone().await?, 4).await?;
    talk.say(3);
    talk.settled().await?;
    let (ada, ben) = (&talk.clients[0].person, &talk.clients[1].person);
    let named = async || {
        let list = ada.get("/api/conversations").await?.expect(200)?;
        anyhow::Ok(list.to_string())
    };
    ensure!(named().await?.contains(&ben.username));
    talk.breaks("users 0");
    talk.chat.pod(Service::Users, 0).kill().await?;
    talk.say(5);
    talk.settled().await?;
    for _ in 0..3 {
        let list = named().await?;
        ensure!(list.contains(&ben.username), "{list}");
    }
    for answer in [
        ada.patch("/api/users/me", &json!({ "display_name": "Ada" }))
            .await?,
        ada.get("/api/users?sort=username").await?,
    ] {
        answer.expect_problem(503, "unavailable")?;
    }
    talk.chat.pod(Service::Users, 0).start().await?;
    talk.heals("users 0");
    // Nothing empty was remembered.
    let list = await_until("the list of users", RECOVERY, async || {
        let answer = ada.get(&format!("/api/users?q={}", ben.username)).await?;
        Ok((answer.status == 200).then_some(answer.body))
    })
    .await?;
    ensure!(
        list["users"][0]["username"] == json!(ben.username),
        "{list}"
    );
    ensure!(named().await?.contains(&ben.username));
    talk.finish().await?;
    Ok(())
}
