//! auth dies, or has more to hash than it can.

use std::time::Instant;

use anyhow::ensure;
use chat_e2e::proxy::{Faults, Proxy, Way};
use chat_e2e::{Backstage, Browser, Chat, Person, await_until};
use chat_events::Service;
use futures::future::{join_all, try_join_all};
use serde_json::json;

use crate::recorded::{RECOVERY, Recorded, SOON, figure};

#[tokio::test]
async fn without_auth_open_sockets_and_good_tokens_go_on_and_sign_in_comes_back()
-> anyhow::Result<()> {
    let talk = Recorded::start(Chat::alone().await?, 4).await?;
    talk.say(3);
    talk.breaks("auth 0");
    talk.chat.pod(Service::Auth, 0).kill().await?;
    talk.say(3);
    talk.settled().await?;
    let ada = &talk.clients[0].person;
    ada.history(talk.conversations[0]).await?;
    // A new socket with a good token, too.
    talk.clients[1].go_offline();
    talk.clients[1]
        .await_state("away", SOON, |state| (!state.connected).then_some(()))
        .await?;
    talk.clients[1].go_online();
    talk.clients[1].await_connected().await?;
    let refused = ada
        .post(
            "/api/auth/signin",
            &json!({ "email": ada.email, "password": ada.password }),
        )
        .await?;
    ensure!(refused.status == 503, "{refused}");
    talk.chat.pod(Service::Auth, 0).launch().await?;
    let begun = Instant::now();
    await_until("a sign-in", RECOVERY, async || {
        ada.sign_in_elsewhere().await.map(Some)
    })
    .await?;
    figure("start of auth to a sign-in", begun);
    talk.heals("auth 0");
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn a_refresh_whose_answer_was_lost_ends_no_session() -> anyhow::Result<()> {
    let chat = Chat::replicas(2).await?;
    let (_, port) = chat.site.url.rsplit_once(':').unwrap_or_default();
    let link = Proxy::start(port.parse()?).await?;
    let door = chat.site.through(&link.url());
    let people = try_join_all((0..4).map(|_| Person::sign_up(&chat.site, "ada"))).await?;
    let mut database = chat.database(Service::Auth).await?;
    let mut used = async || -> anyhow::Result<i64> {
        let count = "select count(*) from refresh_tokens where used_at is not null";
        Ok(sqlx::query_scalar(count).fetch_one(&mut database).await?)
    };
    for turn in 1..=3 {
        // Each token is used, and nobody hears of its successor.
        link.set(Faults::stall(Way::ToClient));
        let far: Vec<Person> = people.iter().map(|person| person.at(&door)).collect();
        let asked = tokio::spawn(async move { join_all(far.iter().map(Person::refresh)).await });
        await_until("four used tokens", SOON, async || {
            Ok((used().await? == 4 * turn).then_some(()))
        })
        .await?;
        // Whichever pod did it, half of them ask the other one, or one that was killed.
        chat.pod(Service::Auth, 0).kill().await?;
        link.reset();
        link.heal();
        ensure!(
            asked.await?.iter().all(Result::is_err),
            "an answer came through"
        );
        for person in &people {
            let again = await_until("an answer", RECOVERY, async || {
                let answer = person.refresh().await?;
                Ok((answer.status < 500).then_some(answer))
            })
            .await?;
            ensure!(again.status == 200, "{again}");
            person.get("/api/auth/currentuser").await?.expect(200)?;
        }
        chat.pod(Service::Auth, 0).start().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_flood_of_passwords_is_refused_in_part_and_holds_no_message_up() -> anyhow::Result<()> {
    let talk = Recorded::start(Chat::alone().await?, 4).await?;
    let site = talk.chat.site.clone();
    // Each from an address of its own: the limit per address is not what is tested.
    let strangers = (0..150).map(|_| Browser::new(&site));
    let strangers: Vec<Browser> = strangers.collect::<anyhow::Result<_>>()?;
    let flood = join_all(strangers.iter().enumerate().map(|(number, browser)| {
        let body = json!({ "email": format!("{number}@example.org"), "password": "wrong horse" });
        async move { browser.post("/api/auth/signin", &body).await }
    }));
    let sends = async {
        let begun = Instant::now();
        talk.say(10);
        talk.settled().await?;
        figure("40 messages beside 150 passwords", begun);
        anyhow::Ok(())
    };
    let (answers, sent) = tokio::join!(flood, sends);
    sent?;
    let mut refused = 0;
    for answer in answers {
        let answer = answer?;
        ensure!(matches!(answer.status, 401 | 503), "{answer}");
        refused += usize::from(answer.status == 503);
    }
    eprintln!("figure: {refused} of 150 passwords were refused unread");
    ensure!(refused > 0, "all passwords were read");
    talk.finish().await?;
    Ok(())
}
