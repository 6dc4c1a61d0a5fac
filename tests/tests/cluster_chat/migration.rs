//! A new version whose migration fails.

use anyhow::{Result, ensure};
use chat_e2e::await_until;
use serde_json::json;

use super::harness::{ClusterChat, PATIENCE, condition, in_cluster};

#[test]
fn long_while_a_migration_fails_the_old_pods_serve_and_another_image_heals_it() -> Result<()> {
    in_cluster(async |cluster| {
        let chat = ClusterChat::start(cluster, "migration", json!({})).await?;
        let (ada, ben, conversation) = chat.two_people().await?;
        // The client's image has no migration, and ends with an error when asked for one.
        let wrong = json!({"services": {"messages": {"image": chat.image_of("web").await?}}});
        chat.patch(wrong).await?;
        let message = await_until("the chat says why", PATIENCE, async || {
            let seen = chat.seen().await?;
            let stalled = condition(&seen, "Stalled");
            let why = stalled["message"].as_str().unwrap_or_default().to_owned();
            ensure!(stalled["status"] == "True", "{why}");
            Ok(Some(why))
        })
        .await?;
        ensure!(
            message.contains("messages") && message.contains("web"),
            "{message}"
        );
        chat.say(&ada, conversation, "by the old pods").await?;
        chat.change(json!({"services": {"messages": {"image": ""}}}))
            .await?;
        chat.say(&ben, conversation, "healed").await?;
        chat.remove().await
    })
}
