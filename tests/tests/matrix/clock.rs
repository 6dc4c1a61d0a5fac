//! The wall clock of one service jumps, by libfaketime; monotonic time goes on.

use std::path::PathBuf;

use anyhow::ensure;
use chat_e2e::{Chat, Person, await_until};
use chat_events::Service;
use chat_local::programs;

use crate::recorded::{Recorded, SOON};

/// A clock for each service, to be set while it runs.
struct Clocks(PathBuf);

impl Clocks {
    fn set(&self, service: Service, seconds: i64) -> anyhow::Result<()> {
        let file = self.0.join(service.name());
        // Read with every look at the clock: never half a number.
        let fresh = file.with_extension("new");
        std::fs::write(&fresh, format!("{seconds:+}\n"))?;
        Ok(std::fs::rename(fresh, file)?)
    }
}

impl Drop for Clocks {
    fn drop(&mut self) {
        // In the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn with_clocks() -> anyhow::Result<(Chat, Clocks)> {
    let cluster = chat_local::testing::cluster().await;
    let clocks = Clocks(std::env::temp_dir().join(format!("clocks-{}", cluster.name)));
    std::fs::create_dir_all(&clocks.0)?;
    let library = programs::faketime()?.to_string_lossy().into_owned();
    for service in Service::ALL {
        clocks.set(service, 0)?;
    }
    let chat = Chat::start(cluster, |options| {
        for service in Service::ALL {
            let file = clocks.0.join(service.name());
            options.set(service, "LD_PRELOAD", library.clone());
            options.set(service, "FAKETIME_TIMESTAMP_FILE", file.to_string_lossy());
            options.set(service, "FAKETIME_NO_CACHE", "1");
            options.set(service, "FAKETIME_DONT_FAKE_MONOTONIC", "1");
            options.set(service, "NO_FAKE_STAT", "1");
        }
    })
    .await?;
    Ok((chat, clocks))
}

/// What a service believes about the time: the `Date` of its answers.
async fn believes(chat: &Chat, service: Service) -> anyhow::Result<i64> {
    let url = chat.pod(service, 0).place().url();
    let answer = reqwest::get(format!("{url}/api/{}/openapi.json", service.name())).await?;
    let date = answer.headers().get("date").map(|date| date.to_str());
    let date = date.transpose()?.unwrap_or_default();
    let believed = jiff::fmt::rfc2822::parse(date)?.timestamp();
    Ok(believed.as_second() - jiff::Timestamp::now().as_second())
}

#[tokio::test]
async fn a_clock_that_jumps_ten_minutes_changes_no_order() -> anyhow::Result<()> {
    let (chat, clocks) = with_clocks().await?;
    let talk = Recorded::start(chat, 4).await?;
    for service in [Service::Messages, Service::Users, Service::Notifications] {
        for seconds in [600, -600] {
            talk.say(2);
            talk.breaks(&format!("the clock of {}", service.name()));
            clocks.set(service, seconds)?;
            // The date of an answer is made anew when a second has passed, which takes
            // its time on a clock that was set back.
            if seconds > 0 {
                await_until("another time", SOON, async || {
                    let off = believes(&talk.chat, service).await?;
                    Ok(((off - seconds).abs() < 30).then_some(()))
                })
                .await?;
            }
            talk.say(4);
            talk.settled().await?;
        }
        clocks.set(service, 0)?;
        talk.heals(&format!("the clock of {}", service.name()));
    }
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn a_gateway_with_a_wrong_clock_lets_nobody_in_and_loses_nothing() -> anyhow::Result<()> {
    let (chat, clocks) = with_clocks().await?;
    let talk = Recorded::start(chat, 4).await?;
    for seconds in [660, -660] {
        talk.say(2);
        talk.settled().await?;
        talk.breaks("the clock of socket-handler");
        clocks.set(Service::SocketHandler, seconds)?;
        talk.say(3);
        // A token of now is over for it, or not yet good.
        let stranger = Person::sign_up(&talk.chat.site, "new").await?;
        let refused = chat_e2e::ChatSocket::open(&stranger).await;
        let refused = refused
            .err()
            .and_then(|error| error.downcast::<chat_e2e::Refused>().ok());
        ensure!(refused.is_some_and(|refused| refused.status == 401));
        clocks.set(Service::SocketHandler, 0)?;
        talk.heals("the clock of socket-handler");
        talk.settled().await?;
    }
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn tokens_are_judged_with_half_a_minute_of_leeway() -> anyhow::Result<()> {
    let (chat, clocks) = with_clocks().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    // A new token, seen by a service that is a bit behind, and by one far behind.
    for (seconds, status) in [(-20, 200), (-60, 401), (0, 200), (580, 200), (660, 401)] {
        clocks.set(Service::Messages, seconds)?;
        ada.refresh().await?.expect(200)?;
        let answer = ada.get("/api/conversations").await?;
        ensure!(answer.status == status, "{seconds} s: {answer}");
    }
    Ok(())
}
