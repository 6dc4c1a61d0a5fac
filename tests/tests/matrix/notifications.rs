//! notifications is away for a while.

use std::time::Instant;

use anyhow::ensure;
use chat_e2e::history::notices_made;
use chat_e2e::{Backstage, Chat, await_until};
use chat_events::Service;

use crate::recorded::{RECOVERY, Recorded, figure};

#[tokio::test]
async fn what_was_missed_is_noticed_once_each_when_it_comes_back() -> anyhow::Result<()> {
    backlog(20, 4).await
}

#[tokio::test]
async fn long_a_large_backlog_is_noticed_once_each_beside_live_messages() -> anyhow::Result<()> {
    backlog(500, 12).await
}

/// Killed in the middle of its work, away, and killed again while it catches up.
async fn backlog(each: usize, people: usize) -> anyhow::Result<()> {
    let talk = Recorded::start(Chat::alone().await?, people).await?;
    talk.say(2);
    talk.breaks("notifications 0");
    talk.chat.pod(Service::Notifications, 0).kill().await?;
    // A client may send 120 frames a minute.
    for _ in 0..each.div_ceil(20) {
        talk.say(20.min(each));
        for client in &talk.clients {
            client.await_outbox_empty(10 * RECOVERY).await?;
        }
    }
    let begun = Instant::now();
    talk.chat.pod(Service::Notifications, 0).start().await?;
    talk.say(2);
    talk.settled().await?;
    figure("two live messages each beside the backlog", begun);
    talk.chat.pod(Service::Notifications, 0).kill().await?;
    talk.chat.pod(Service::Notifications, 0).start().await?;
    talk.heals("notifications 0");
    let mut database = talk.chat.database(Service::Notifications).await?;
    let said = talk.said() as i64;
    await_until("a notice for each", RECOVERY, async || {
        // A conversation has two members: the other one gets the notice.
        let count = notices_made(&mut database).await?;
        ensure!(count <= said, "{count} notices for {said} messages");
        Ok((count == said).then_some(()))
    })
    .await?;
    figure("start of notifications to the last notice", begun);
    talk.finish().await?;
    Ok(())
}
