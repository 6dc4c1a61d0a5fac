//! Bad input through NGINX: a 4xx problem with a stable code, and no row.

use std::time::Duration;

use anyhow::{Context, ensure};
use chat_e2e::{Chat, ChatSocket, Person};
use chat_events::{ClientId, Code, ConversationId, Service, limits};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(10);

/// Every route that takes a body, with a good one.
fn bodies(other: &Person) -> Vec<(Method, &'static str, Value)> {
    vec![
        (
            Method::POST,
            "/api/auth/signup",
            json!({ "email": "bad@example.org", "password": "a long enough secret", "username": "bad_input" }),
        ),
        (
            Method::POST,
            "/api/auth/signin",
            json!({ "email": other.email, "password": "a guess" }),
        ),
        (
            Method::POST,
            "/api/auth/password",
            json!({ "current_password": "a guess", "new_password": "a long enough secret" }),
        ),
        (
            Method::PATCH,
            "/api/users/me",
            json!({ "display_name": "Bad Input" }),
        ),
        (
            Method::POST,
            "/api/conversations",
            json!({ "user_id": other.id }),
        ),
        (
            Method::POST,
            "/api/notifications/read",
            json!({ "all": true }),
        ),
        (
            Method::POST,
            "/ws/chat/createRoom",
            json!({ "name": other.username }),
        ),
    ]
}

#[tokio::test]
async fn a_bad_body_gets_a_problem_with_a_stable_code_and_no_row() -> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let (ada, ben) = tokio::try_join!(
        Person::sign_up(&chat.site, "ada"),
        Person::sign_up(&chat.site, "ben")
    )?;
    chat_e2e::await_until("both in every service", SOON, async || {
        ada.get(&format!("/api/users/{}", ben.id))
            .await?
            .expect(200)?;
        let known = chat.dump(Service::Messages).await?.contains(&ben.username)
            && chat
                .dump(Service::Notifications)
                .await?
                .contains(&ben.username);
        Ok(known.then_some(()))
    })
    .await?;
    let before = rows(&chat).await?;
    for (method, path, good) in bodies(&ben) {
        let name = good
            .as_object()
            .and_then(|body| body.keys().next().cloned());
        let name = name.context("a body without fields")?;
        let with = |value: Value| {
            let mut body = good.clone();
            body[&name] = value;
            body.to_string().into_bytes()
        };
        let mut unknown = good.clone();
        unknown["is_admin"] = json!(true);
        let mut invalid_utf8 = good.to_string().into_bytes();
        invalid_utf8.splice(2..2, [0xff, 0xfe]);
        let mut deep = "[".repeat(200).into_bytes();
        deep.extend("]".repeat(200).into_bytes());
        let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
            ("nothing", Vec::new(), &["invalid_json"]),
            ("half an object", b"{\"".to_vec(), &["invalid_json"]),
            ("two objects", b"{}{}".to_vec(), &["invalid_json"]),
            ("a list", b"[]".to_vec(), &["invalid_json"]),
            ("null", b"null".to_vec(), &["invalid_json"]),
            ("a deep list", deep, &["invalid_json"]),
            ("invalid UTF-8", invalid_utf8, &["invalid_json"]),
            (
                "a number for a text",
                with(json!(7)),
                &["invalid_json", "invalid"],
            ),
            (
                "an object for a text",
                with(json!({ "$gt": "" })),
                &["invalid_json", "invalid"],
            ),
            (
                "null for a field",
                with(Value::Null),
                &["invalid_json", "invalid"],
            ),
            (
                "a NUL",
                with(json!("nul\u{0}byte")),
                &["invalid_json", "invalid", "wrong_credentials", "not_found"],
            ),
            (
                "an unknown field",
                unknown.to_string().into_bytes(),
                &["invalid_json"],
            ),
            (
                "257 KiB",
                with(json!("x".repeat(limits::BODY + 1024))),
                &["too_large"],
            ),
        ];
        for (fault, body, codes) in cases {
            let answer = ada
                .send(
                    ada.request(method.clone(), path)
                        .header("content-type", "application/json")
                        .body(body),
                )
                .await?;
            let code = answer.body["code"].as_str().unwrap_or_default();
            ensure!(
                codes.contains(&code),
                "{method} {path} with {fault}: {answer}"
            );
            answer.expect_problem(answer.status, code)?;
            ensure!((400..500).contains(&answer.status));
        }
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ] {
            ada.send(
                ada.request(method.clone(), path)
                    .header("content-type", kind)
                    .body(good.to_string()),
            )
            .await?
            .expect_problem(415, "unsupported_media_type")
            .with_context(|| format!("{method} {path} as {kind}"))?;
        }
    }
    let after = rows(&chat).await?;
    ensure!(before == after, "{before:?} became {after:?}");
    Ok(())
}

#[tokio::test]
async fn a_bad_id_cursor_or_parameter_gets_a_problem_with_a_stable_code() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, _, conversation) = chat.two_people().await?;
    let nobody = Uuid::now_v7();
    for (path, status, codes) in [
        ("/api/users/7".into(), 400, &["invalid_id"][..]),
        (format!("/api/users/{nobody}"), 404, &["not_found"]),
        ("/api/users?sort=password".into(), 400, &["invalid"]),
        ("/api/users?direction=sideways".into(), 400, &["invalid"]),
        ("/api/users?limit=0".into(), 400, &["invalid"]),
        ("/api/users?limit=101".into(), 400, &["invalid"]),
        ("/api/users?limit=-1".into(), 400, &["invalid"]),
        ("/api/users?limit=many".into(), 400, &["invalid"]),
        ("/api/users?cursor=x".into(), 400, &["invalid_cursor"]),
        (
            "/api/users?cursor=%00".into(),
            400,
            &["invalid_cursor", "invalid"],
        ),
        ("/api/users?q=%00".into(), 400, &["invalid"]),
        ("/api/users?q=%ff".into(), 400, &["invalid"]),
        ("/api/conversations/7".into(), 400, &["invalid_id"]),
        (format!("/api/conversations/{nobody}"), 404, &["not_found"]),
        (
            "/api/conversations?cursor=x".into(),
            400,
            &["invalid_cursor"],
        ),
        ("/api/conversations?limit=101".into(), 400, &["invalid"]),
        ("/api/messages".into(), 400, &["invalid"]),
        (
            "/api/messages?conversation=7".into(),
            400,
            &["invalid", "invalid_id"],
        ),
        (
            format!("/api/messages?conversation={nobody}"),
            404,
            &["not_found"],
        ),
        (
            format!("/api/messages?conversation={conversation}&limit=101"),
            400,
            &["invalid"],
        ),
        (
            format!("/api/messages?conversation={conversation}&limit=0"),
            400,
            &["invalid"],
        ),
        (
            format!("/api/messages?conversation={conversation}&before=x"),
            400,
            &["invalid"],
        ),
        (
            format!("/api/messages?conversation={conversation}&before=1&after=1"),
            400,
            &["invalid"],
        ),
        (
            format!("/api/messages?conversation={conversation}&after=99999999999999999999"),
            400,
            &["invalid"],
        ),
        (
            format!("/api/messages/events?conversation={nobody}&after=0"),
            404,
            &["not_found"],
        ),
        (
            "/api/notifications?cursor=x".into(),
            400,
            &["invalid_cursor"],
        ),
        ("/api/notifications?limit=101".into(), 400, &["invalid"]),
        ("/api/users/nothing/here".into(), 404, &["not_found"]),
        ("/api/auth/nothing".into(), 404, &["not_found"]),
        (
            "/ws/chat/joinRoom/7".into(),
            400,
            &["invalid_id", "upgrade_required"],
        ),
    ] {
        let answer = ada.get(&path).await?;
        let code = answer.body["code"].as_str().unwrap_or_default();
        ensure!(
            answer.status == status && codes.contains(&code)
                || (code == "upgrade_required" && codes.contains(&code)),
            "{path}: {answer}"
        );
    }
    for (method, path) in [
        (Method::DELETE, "/api/users"),
        (Method::PUT, "/api/messages"),
        (Method::POST, "/api/auth/currentuser"),
        (Method::PATCH, "/api/conversations"),
    ] {
        ada.send(ada.request(method, path))
            .await?
            .expect_problem(405, "method_not_allowed")?;
    }
    let unknown = format!("/api/notifications/{nobody}");
    ada.delete(&unknown)
        .await?
        .expect_problem(404, "not_found")?;
    ada.delete("/api/notifications/7")
        .await?
        .expect_problem(400, "invalid_id")
}

#[tokio::test]
async fn a_bad_frame_gets_an_error_and_the_socket_goes_on() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, _, conversation) = chat.two_people().await?;
    let mut socket = ChatSocket::open(&ada).await?;
    let client_id = ClientId::generate();
    let create = |content: Value| json!({ "type": "message.create", "client_id": client_id, "conversation_id": conversation, "content": content });
    let mut without_id = create(json!("x"));
    without_id["client_id"] = json!("not an id");
    for bad in [
        String::new(),
        "hello".into(),
        "{".into(),
        "null".into(),
        "[]".into(),
        "{}".into(),
        json!({ "type": "nothing.known" }).to_string(),
        json!({ "type": "hello" }).to_string(),
        json!({ "type": "message.create" }).to_string(),
        json!({ "type": "resume", "conversation_id": conversation, "after": "1" }).to_string(),
        json!({ "type": "typing", "conversation_id": conversation, "active": 1 }).to_string(),
        create(json!(7)).to_string(),
        create(json!(["x"])).to_string(),
        without_id.to_string(),
        "[".repeat(10_000),
    ] {
        socket.send_text(&bad).await?;
        let code = socket
            .await_error()
            .await
            .with_context(|| format!("for {bad:.80}"))?;
        ensure!(code == Code::InvalidFrame, "{bad:.80}: {code:?}");
    }
    for content in ["nul\u{0}", "\u{1b}[31m", "bell\u{7}", "return\r"] {
        socket
            .send_text(&create(json!(content)).to_string())
            .await?;
        let code = socket.await_error().await?;
        ensure!(
            matches!(code, Code::Invalid | Code::InvalidFrame),
            "{content:?}: {code:?}"
        );
    }
    let nobody = ConversationId::generate();
    socket.say(nobody, "to nobody").await?;
    let code = socket.await_error().await?;
    ensure!(code == Code::NotFound, "{code:?}");
    let sent = socket.say(conversation, "still here").await?;
    ensure!(socket.await_stored(sent).await?.seq == 1);
    ensure!(ada.history(conversation).await?.len() == 1);
    Ok(())
}

#[tokio::test]
async fn a_frame_that_is_not_text_closes_the_socket_and_stores_nothing() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, _, conversation) = chat.two_people().await?;
    let frame = json!({
        "type": "message.create",
        "client_id": ClientId::generate(),
        "conversation_id": conversation,
        "content": "as bytes",
    })
    .to_string();
    let mut socket = ChatSocket::open(&ada).await?;
    socket.send_message(Message::binary(frame.clone())).await?;
    // An error or a close are both an answer; a stored message is none.
    let refused = socket.await_error().await;
    ensure!(refused.is_err() || refused? == Code::InvalidFrame);
    let mut invalid = frame.into_bytes();
    let place = invalid.len() - 10;
    invalid[place] = 0xff;
    let mut socket = ChatSocket::open(&ada).await?;
    socket.send_invalid_text(&invalid).await?;
    let code = socket.await_close(SOON).await?;
    ensure!(matches!(code, Some(1002 | 1007) | None), "{code:?}");
    ensure!(ada.history(conversation).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn limits_of_names_and_messages_hold_at_their_borders() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let [ada, _] = chat.two_strangers().await?;
    let me = format!("/api/users/{}", ada.id);
    for (name, fine) in [
        (String::new(), false),
        ("é".into(), true),
        ("é".repeat(64), true),
        ("é".repeat(65), false),
        ("line\nbreak".into(), false),
        ("nul\u{0}".into(), false),
    ] {
        let answer = ada
            .patch("/api/users/me", &json!({ "display_name": name }))
            .await?;
        if fine {
            answer.expect(200)?;
            let shown = ada.get(&me).await?.expect(200)?;
            ensure!(shown["display_name"] == json!(name), "{shown}");
        } else {
            ensure!(
                answer.status == 400 && answer.names_field("display_name"),
                "{name:?}: {answer}"
            );
        }
    }
    let guest = chat_e2e::Browser::new(&chat.site)?;
    for (length, fine) in [(7, false), (8, true), (128, true), (129, false)] {
        let unique = Uuid::new_v4().simple().to_string();
        let other = Uuid::new_v4().simple().to_string();
        let secret: String = other.chars().cycle().take(length).collect();
        let answer = guest
            .post(
                "/api/auth/signup",
                &json!({ "email": format!("{unique}@example.org"), "password": secret, "username": &unique[..20] }),
            )
            .await?;
        ensure!((answer.status == 201) == fine, "{length}: {answer}");
    }
    for (length, fine) in [(2, false), (3, true), (32, true), (33, false)] {
        let unique = Uuid::new_v4().simple().to_string();
        let name: String = unique.chars().chain("x".chars()).take(length).collect();
        let answer = guest
            .post(
                "/api/auth/signup",
                &json!({ "email": format!("{unique}@example.org"), "password": Uuid::new_v4(), "username": name }),
            )
            .await?;
        let taken = answer.status == 409 && length == 3;
        ensure!(
            (answer.status == 201) == fine || taken,
            "{length}: {answer}"
        );
    }
    Ok(())
}

/// The rows of every table of every service, but for what comes and goes by itself.
async fn rows(chat: &Chat) -> anyhow::Result<Vec<(Service, usize)>> {
    let mut rows = Vec::new();
    for service in Service::ALL.into_iter().filter(|it| it.has_database()) {
        let dump = chat.dump(service).await?;
        let lasting = dump.lines().filter(|line| {
            ![
                "outbox ",
                "inbox ",
                "leases ",
                "partition",
                "throttle",
                "failures",
                "attempts",
                "_sqlx",
            ]
            .iter()
            .any(|table| line.starts_with(table))
        });
        rows.push((service, lasting.count()));
    }
    Ok(rows)
}
