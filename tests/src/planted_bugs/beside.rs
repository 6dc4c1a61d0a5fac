//! Notices, caches, presence, sessions, and what waits in tables and queues.

use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chat_events::Service;
use chat_events::topology::{self, Queue};
use futures::future::{join, join_all, try_join_all};
use rand::RngExt;
use serde_json::json;

use super::stage::{SOON, Stage};
use crate::history::{Kind, notices_made, presence_of, sample};
use crate::{Backstage, Browser, ChatClient, Person, await_until, checker};

/// Longer than an answered sign-out may take to reach a socket.
const REVOKED: Duration = Duration::from_secs(4);
/// Fewer than the service may have connections.
const REFUSED: usize = 7;

/// A pod dies and does not come back, nor does one of its people.
pub async fn pod_never_returns(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say(3);
    stage.stored().await;
    let gone = stage.people.pop().context("nobody")?;
    let ghost = stage.clients.pop().context("nobody")?;
    let pod = stage.chat.pod(Service::SocketHandler, 0);
    stage.recorder.fault("a pod", Kind::Invoke);
    pod.kill().await?;
    ghost.stop().await?;
    // Under another name: nobody is left to give the lease of the first back.
    pod.start().await?;
    stage.recorder.fault("a pod", Kind::Ok);
    tokio::time::sleep(checker::PRESENCE_SETTLED).await;
    presence_of(&stage.recorder, &stage.people[0], gone.id).await
}

/// Newest pages are asked for while they change.
pub async fn pages_read_while_written(stage: &mut Stage) -> anyhow::Result<()> {
    let (conversation, [one, two]) = stage.any_talk();
    let [ada, ben] = [one, two].map(|index| &stage.clients[index]);
    for number in 0..40 {
        ada.send(conversation, &format!("question {number}"));
        ben.send(conversation, &format!("answer {number}"));
    }
    let path = format!("/api/messages?conversation={conversation}&limit=30");
    let readers = [one, two, one, two].map(|index| stage.people[index].clone());
    let written = async {
        for client in [ada, ben] {
            let _ = client.await_outbox_empty(SOON).await;
        }
    };
    tokio::pin!(written);
    loop {
        let read = try_join_all(readers.iter().map(|reader| reader.get(&path)));
        tokio::select! {
            () = &mut written => return Ok(()),
            pages = read => drop(pages?),
        }
    }
}

/// Notices are being made, and the one who makes them dies over it.
pub async fn killed_while_noticing(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say(3);
    stage.stored().await;
    let mut hold = stage
        .hold(Service::Notifications, "progress in exclusive mode")
        .await?;
    stage.say(3);
    stage.stored().await;
    hold.is_met().await?;
    stage.kill(Service::Notifications).await?;
    hold.release().await
}

/// A message is sent again after its notice was made, so it is told again.
pub async fn told_again(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say(3);
    stage.stored().await;
    let (conversation, [one, two]) = stage.any_talk();
    let mut notifications = stage.chat.database(Service::Notifications).await?;
    await_until("the notices", SOON, async || {
        let made = notices_made(&mut notifications).await?;
        Ok((made == 3 * stage.people.len() as i64).then_some(()))
    })
    .await?;
    for index in [one, two] {
        stage.say_again(index, conversation).await?;
    }
    // Noticed after the repeats.
    stage.say(3);
    stage.stored().await;
    Ok(())
}

/// Something that nobody can read lies among what makes notices.
pub async fn poison_among_notices(stage: &mut Stage) -> anyhow::Result<()> {
    let queues = topology::queues();
    let mut queues = queues.iter();
    let notices = queues.find(|queue| queue.name == "NOTIFICATIONS_SRV_MessageSentQueue");
    poisoned(stage, notices.context("no such queue")?).await
}

/// Something that nobody can read lies among the sends.
pub async fn poison_among_sends(stage: &mut Stage) -> anyhow::Result<()> {
    let (conversation, _) = stage.any_talk();
    let queue = topology::partition_queue(topology::partition(conversation));
    poisoned(stage, &queue).await
}

async fn poisoned(stage: &mut Stage, queue: &Queue) -> anyhow::Result<()> {
    stage.say(3);
    stage.stored().await;
    let body = format!("no envelope {}", stage.rng.random::<u32>());
    stage.poison(queue, &body).await?;
    stage.say(3);
    stage.stored().await;
    let _ = await_until("the dead letter", SOON, async || {
        let listed = stage
            .chat
            .command(queue.owner, &["dead-letters", "list"])
            .await?;
        Ok(listed.contains(&body).then_some(()))
    })
    .await;
    Ok(())
}

/// An account takes long to be written, and what was written after it is told
/// before.
pub async fn slow_sign_up(stage: &mut Stage) -> anyhow::Result<()> {
    let guest = stage.people[0].sign_in_elsewhere().await?;
    let mut auth = stage.chat.database(Service::Auth).await?;
    let mut hold = stage
        .hold(Service::Auth, "refresh_tokens in share mode")
        .await?;
    let site = stage.chat.site.clone();
    let late = tokio::spawn(async move { Person::sign_up(&site, "late").await });
    hold.is_met().await?;
    guest.sign_out().await?;
    await_until("the sign-out to be told", SOON, async || {
        let waiting: i64 = sqlx::query_scalar("select count(*) from outbox")
            .fetch_one(&mut auth)
            .await?;
        Ok((waiting == 0).then_some(()))
    })
    .await?;
    hold.release().await?;
    let late = late.await??;
    let _ = await_until("the late one among the users", SOON, async || {
        let answer = late.get(&format!("/api/users/{}", late.id)).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await;
    Ok(())
}

/// One of two tabs signs out while people talk.
pub async fn tab_signs_out(stage: &mut Stage) -> anyhow::Result<()> {
    let guest = stage.people[0].sign_in_elsewhere().await?;
    let tab = ChatClient::recorded(&guest, &stage.recorder);
    tab.await_connected().await?;
    stage.say(3);
    stage.stored().await;
    tab.sign_out().await?;
    let _ = tab
        .await_state("the end of the session", REVOKED, |state| {
            state.signed_out.then_some(())
        })
        .await;
    tab.stop().await?;
    stage.say(3);
    stage.stored().await;
    Ok(())
}

/// Two tabs with the same cookie refresh at once.
pub async fn two_tabs_refresh(stage: &mut Stage) -> anyhow::Result<()> {
    let site = &stage.chat.site;
    let refreshes = stage.people.iter().map(|person| async move {
        let tab = Browser::new(site)?;
        let cookie = person.cookie("refresh").context("not signed in")?;
        tab.set_cookie("refresh", &cookie);
        let (first, second) =
            join(person.refresh(), tab.post("/api/auth/refresh", &json!({}))).await;
        first?.expect(200)?;
        second?.expect(200)?;
        anyhow::Ok(())
    });
    join_all(refreshes).await.into_iter().collect()
}

/// Somebody asks again and again with a cookie that is worth nothing.
pub async fn refreshes_refused(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say(3);
    stage.stored().await;
    sample(&stage.chat, &stage.recorder).await?;
    let stranger = Browser::new(&stage.chat.site)?;
    for _ in 0..REFUSED {
        let token: [u8; 32] = stage.rng.random();
        stranger.set_cookie("refresh", &URL_SAFE_NO_PAD.encode(token));
        stranger
            .post("/api/auth/refresh", &json!({}))
            .await?
            .expect(401)?;
    }
    sample(&stage.chat, &stage.recorder).await
}
