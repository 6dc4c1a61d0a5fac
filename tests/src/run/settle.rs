//! After the last fault is healed: everything arrives everywhere.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chat_events::Service;
use tokio::time::{Instant, sleep};

use super::crowd::Crowd;
use crate::history::tops;
use crate::{Backstage, await_until};

/// Looking costs the services time as well.
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

/// Waits until nobody has anything unsent, no event waits, and everybody shows all.
/// How long that took.
///
/// # Errors
/// Who or what has not come to rest in time.
pub async fn settle(
    chat: &impl Backstage,
    crowd: &Crowd,
    limit: Duration,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    await_until("the chat comes to rest", limit, async || {
        let looked = look(chat, crowd).await;
        if looked.is_err() {
            sleep(BETWEEN_LOOKS).await;
        }
        looked.map(Some)
    })
    .await?;
    Ok(begun.elapsed())
}

async fn look(chat: &impl Backstage, crowd: &Crowd) -> anyhow::Result<()> {
    for client in &crowd.clients {
        let state = client.state();
        ensure!(
            state.connected && state.outbox.is_empty(),
            "{} has {} unsent messages: {}",
            client.person.username,
            state.outbox.len(),
            state.summary()
        );
    }
    for service in Service::ALL.into_iter().filter(|it| it.has_database()) {
        let mut database = chat.database(service).await?;
        let waiting: i64 = sqlx::query_scalar("select count(*) from outbox")
            .fetch_one(&mut database)
            .await?;
        ensure!(waiting == 0, "{waiting} events wait in {}", service.name());
    }
    let mut messages = chat.database(Service::Messages).await?;
    let tops = tops(&mut messages).await?;
    for client in &crowd.clients {
        let state = client.state();
        let mine = tops.get(&client.person.id).context("nobody's client")?;
        for (conversation, seq) in mine {
            let top = state.top(*conversation);
            if top != *seq {
                bail!(
                    "{} shows {conversation} up to {top}, and it goes to {seq}: {}",
                    client.person.username,
                    state.summary()
                );
            }
        }
    }
    Ok(())
}
