//! What nobody can handle is put aside, and holds nobody up.

use std::time::Duration;

use anyhow::ensure;
use chat_e2e::{Backstage, Chat, Talk, await_until};
use chat_events::{Service, topology};

const RECOVERY: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_poison_message_is_a_dead_letter_and_the_chat_goes_on() -> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let talk = Talk::start(&chat).await?;
    talk.say(4).await?;
    // Into the very queue in which the sends of this conversation wait, and
    // into that of the notices.
    let sends = topology::partition_queue(topology::partition(talk.conversation));
    let notices = topology::queues()
        .into_iter()
        .find(|queue| queue.name == "NOTIFICATIONS_SRV_MessageSentQueue");
    let poisoned = [Some(sends), notices].into_iter().flatten();
    for queue in poisoned.clone() {
        let (exchange, key) = &queue.bindings[0];
        let bodies = ["no envelope", "{\"version\":7}"].map(|body| body.as_bytes().to_vec());
        chat.publish_bodies(*exchange, key, &bodies).await?;
        talk.say(4).await?;
        let listed = await_until("both among the dead letters", RECOVERY, async || {
            let listed = chat.command(queue.owner, &["dead-letters", "list"]).await?;
            Ok((listed.lines().count() >= 3).then_some(listed))
        })
        .await?;
        for body in ["no envelope", "{\"version\":7}"] {
            ensure!(
                listed
                    .lines()
                    .any(|line| line.starts_with(&queue.name) && line.ends_with(body)),
                "{body:?} is not in {listed}"
            );
        }
        ensure!(listed.ends_with("2 dead letters found\n"), "{listed}");
    }
    ensure!(poisoned.count() == 2);
    for service in [Service::Messages, Service::Notifications] {
        ensure!(chat.is_ready(service, 0).await?, "{} stays", service.name());
    }
    talk.finish(12, RECOVERY).await
}
