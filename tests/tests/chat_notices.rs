//! Notices of messages: live, stored, read, deleted; and what guests see.

use std::time::Duration;

use anyhow::ensure;
use chat_e2e::{Browser, Chat, ChatClient, ChatSocket, NoticeSocket, Person, await_until};
use chat_events::NotificationFrame;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn guest_sees_the_public_presence_of_users_only_no_message_content() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let guest = Browser::new(&chat.site)?;
    let mut socket = NoticeSocket::join(&guest).await?;
    socket
        .await_frame("hello", SOON, |frame| match frame {
            NotificationFrame::Hello {
                user_id: None,
                unread: 0,
                ..
            } => Some(()),
            _ => None,
        })
        .await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let talker = ChatClient::start(&ada);
    talker.send(conversation, "a secret between two");
    talker.await_outbox_empty(SOON).await?;
    await_unread(&ben, 1).await?;
    let last = ChatSocket::open(&ben).await?;
    // Both came online, and nothing else is told.
    let mut online = Vec::new();
    while online.len() < 2 {
        let came = socket
            .await_frame("presence", SOON, |frame| match frame {
                NotificationFrame::UserOnline { users } => Some(Ok(users.clone())),
                NotificationFrame::UserOffline { .. } | NotificationFrame::Heartbeat {} => None,
                other => Some(Err(format!("{other:?}"))),
            })
            .await?
            .map_err(anyhow::Error::msg)?;
        let came = came.into_iter().map(|user| user.id);
        online.extend(came.filter(|id| [ada.id, ben.id].contains(id)));
    }
    // Both may be in one frame, in any order.
    online.sort();
    let mut both = [ada.id, ben.id];
    both.sort();
    ensure!(online == both);
    for path in [
        "/api/notifications",
        "/api/users",
        "/api/conversations",
        &format!("/api/messages?conversation={conversation}"),
        &format!("/ws/notifications/{}", ada.username),
    ] {
        guest
            .get(path)
            .await?
            .expect_problem(401, "unauthenticated")?;
    }
    last.close().await?;
    talker.stop().await
}

#[tokio::test]
async fn only_the_receiver_gets_it_never_guests_or_third_users() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let eve = Person::sign_up(&chat.site, "eve").await?;
    let guest = Browser::new(&chat.site)?;
    let mut others = vec![
        NoticeSocket::join(&guest).await?,
        NoticeSocket::join(&eve).await?,
        NoticeSocket::join(&ada).await?,
    ];
    let second = ben.sign_in_elsewhere().await?;
    let mut receivers = [
        NoticeSocket::join(&ben).await?,
        NoticeSocket::join(&second).await?,
    ];
    let mut talk = ChatSocket::open(&ada).await?;
    let sent = talk.say(conversation, &"für Ben ".repeat(100)).await?;
    let message = talk.await_stored(sent).await?;
    for receiver in &mut receivers {
        let (notice, unread) = receiver
            .await_frame("the notice", SOON, |frame| match frame {
                NotificationFrame::Notice { notice, unread } => Some((notice.clone(), *unread)),
                _ => None,
            })
            .await?;
        ensure!(notice.message_id == message.id && unread == 1, "{notice:?}");
        ensure!(notice.sender_id == ada.id && notice.sender_username == ada.username);
        ensure!(notice.preview.chars().count() <= 120);
        ensure!(
            message
                .content
                .starts_with(notice.preview.trim_end_matches('…'))
        );
    }
    // Whoever comes online next is told to all of them: a frame that is later than the notice.
    let late = Person::sign_up(&chat.site, "late").await?;
    let _late = ChatSocket::open(&late).await?;
    for socket in &mut others {
        socket
            .await_frame("the marker", SOON, |frame| match frame {
                NotificationFrame::UserOnline { users }
                    if users.iter().any(|user| user.id == late.id) =>
                {
                    Some(Ok(()))
                }
                NotificationFrame::Notice { notice, .. } => Some(Err(anyhow::anyhow!(
                    "a notice for somebody else: {notice:?}"
                ))),
                _ => None,
            })
            .await??;
    }
    for person in [&ada, &eve] {
        let notices = person.get("/api/notifications").await?.expect(200)?;
        ensure!(notices["notices"] == json!([]), "{notices}");
    }
    Ok(())
}

#[tokio::test]
async fn offline_receiver_gets_them_at_next_sign_in_reading_twice_does_not_lose_them()
-> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    ben.sign_out().await?;
    let talker = ChatClient::start(&ada);
    for number in 0..3 {
        talker.send(conversation, &format!("message {number}"));
    }
    talker.await_outbox_empty(SOON).await?;
    ben.sign_in().await?;
    let first = await_unread(&ben, 3).await?;
    let second = ben.get("/api/notifications").await?.expect(200)?;
    ensure!(first == second, "{first} is not {second}");
    ensure!(
        previews(&second) == ["message 2", "message 1", "message 0"],
        "{second}"
    );
    // The earlier path does not lose them either.
    let earlier = format!("/ws/notifications/{}", ben.username);
    for _ in 0..2 {
        let listed = ben.get(&earlier).await?.expect(200)?;
        ensure!(
            listed["notifs"].as_array().map(Vec::len) == Some(3),
            "{listed}"
        );
    }
    let mut socket = NoticeSocket::join(&ben).await?;
    socket
        .await_frame("hello", SOON, |frame| match frame {
            NotificationFrame::Hello {
                unread: 3,
                user_id: Some(id),
                ..
            } if *id == ben.id => Some(()),
            _ => None,
        })
        .await?;
    talker.stop().await
}

#[tokio::test]
async fn own_notices_only_other_users_gives_403() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let talker = ChatClient::start(&ada);
    for text in ["one", "two", "three"] {
        talker.send(conversation, text);
    }
    talker.await_outbox_empty(SOON).await?;
    let list = await_unread(&ben, 3).await?;
    let ids: Vec<_> = (0..3)
        .map(|place| list["notices"][place]["id"].clone())
        .collect();
    let theirs = format!("/ws/notifications/{}", ben.username);
    ada.get(&theirs).await?.expect_problem(403, "forbidden")?;
    let body = json!({ "notifs": [{ "ID": ids[0] }] });
    ada.send(ada.request(reqwest::Method::DELETE, &theirs).json(&body))
        .await?
        .expect_problem(403, "forbidden")?;
    let one = format!("/api/notifications/{}", ids[0].as_str().unwrap_or_default());
    ada.delete(&one).await?.expect_problem(403, "forbidden")?;
    ada.post("/api/notifications/read", &json!({ "ids": ids }))
        .await?
        .expect_problem(403, "forbidden")?;
    await_unread(&ben, 3).await?;
    // The owner may: read one, delete one, read all.
    let mut socket = NoticeSocket::join(&ben).await?;
    ben.post("/api/notifications/read", &json!({ "ids": [ids[1]] }))
        .await?
        .expect(204)?;
    socket
        .await_frame("the new count", SOON, |frame| match frame {
            NotificationFrame::Unread { unread: 2 } => Some(()),
            _ => None,
        })
        .await?;
    ben.delete(&one).await?.expect(204)?;
    let left = await_unread(&ben, 1).await?;
    ensure!(previews(&left).len() == 2, "{left}");
    ben.post("/api/notifications/read", &json!({ "all": true }))
        .await?
        .expect(204)?;
    await_unread(&ben, 0).await?;
    talker.stop().await
}

#[tokio::test]
async fn reading_the_conversation_reads_its_notices() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let (talker, reader) = (ChatClient::start(&ada), ChatClient::start(&ben));
    talker.send(conversation, "one");
    talker.send(conversation, "two");
    talker.await_outbox_empty(SOON).await?;
    await_unread(&ben, 2).await?;
    reader.await_texts(conversation, 2, SOON).await?;
    reader.read(conversation, 2);
    await_unread(&ben, 0).await?;
    talker.stop().await?;
    reader.stop().await
}

/// The list of notices as soon as so many are unread.
async fn await_unread(person: &Person, count: i64) -> anyhow::Result<Value> {
    await_until(&format!("{count} unread notices"), SOON, async || {
        let list = person.get("/api/notifications").await?.expect(200)?;
        Ok((list["unread"] == count).then_some(list))
    })
    .await
}

fn previews(list: &Value) -> Vec<&str> {
    list["notices"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|notice| notice["preview"].as_str())
        .collect()
}
