//! What operators and programmers read: documents, metrics, health and logs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use chat_e2e::{Browser, Chat, ChatClient, ChatSocket, NoticeSocket, Person, await_until};
use chat_events::Service;
use reqwest::Method;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);
const RECOVERY: Duration = Duration::from_secs(60);

#[tokio::test]
async fn openapi_document_is_served_and_equals_the_committed_one() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let guest = Browser::new(&chat.site)?;
    for service in Service::ALL {
        let name = service.name();
        let served = guest
            .get(&format!("/api/{name}/openapi.json"))
            .await?
            .expect(200)?;
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../services")
            .join(name)
            .join("openapi.json");
        let committed: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        ensure!(served == committed, "{} is out of date", file.display());
        let page = guest.get(&format!("/api/{name}/docs/")).await?;
        ensure!(page.status == 200 && page.text.contains("<html"), "{page}");
    }
    Ok(())
}

#[tokio::test]
async fn every_documented_route_is_routed_through_nginx() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    for service in Service::ALL {
        let document = ada
            .get(&format!("/api/{}/openapi.json", service.name()))
            .await?
            .expect(200)?;
        let paths = document["paths"].as_object().context("no paths")?;
        for path in paths.keys().filter(|path| !path.starts_with("/internal/")) {
            // A method that no route has: it is the path that must be known.
            let concrete = path.replace("{id}", "7").replace("{username}", "nobody");
            let answer = ada
                .send(ada.request(Method::from_bytes(b"PROPFIND")?, &concrete))
                .await?;
            answer
                .expect_problem(405, "method_not_allowed")
                .with_context(|| format!("{} {path}", service.name()))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn metrics_per_service_show_requests_sockets_events_errors() -> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let (one, two) = (ChatClient::start(&ada), ChatClient::start(&ben));
    let _notices = NoticeSocket::join(&ben).await?;
    one.send(conversation, "counted");
    two.await_texts(conversation, 1, SOON).await?;
    for path in [
        "/api/auth/nothing",
        "/api/users/7",
        "/api/messages",
        "/api/notifications?limit=0",
        "/ws/chat/joinRoom/7",
    ] {
        ensure!(ada.get(path).await?.status >= 400);
    }
    ada.get("/api/users").await?.expect(200)?;
    ada.get("/api/notifications").await?.expect(200)?;
    let every: &[&str] = &[
        "chat_http_requests_total",
        "chat_http_request_seconds",
        "chat_errors_total",
    ];
    for (service, own) in [
        (Service::Auth, &["chat_events_published_total"][..]),
        (
            Service::Users,
            &["chat_events_published_total", "chat_events_handled_total"],
        ),
        (
            Service::Messages,
            &["chat_events_published_total", "chat_events_handled_total"],
        ),
        (
            Service::Notifications,
            &["chat_events_handled_total", "chat_sockets"],
        ),
        (
            Service::SocketHandler,
            &["chat_events_published_total", "chat_sockets"],
        ),
    ] {
        await_until(service.name(), SOON, async || {
            let metrics = chat.metrics(service, 0).await?;
            for name in every.iter().chain(own) {
                let total: f64 = metrics
                    .lines()
                    .filter(|line| line.starts_with(name))
                    .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                    .sum();
                ensure!(total > 0.0, "{name} is {total}");
            }
            Ok(Some(()))
        })
        .await?;
    }
    // The sockets that are open now, and no more.
    let sockets = chat.metrics(Service::SocketHandler, 0).await?;
    let open: f64 = sockets
        .lines()
        .filter(|line| line.starts_with("chat_sockets{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    ensure!(open == 2.0, "{open} sockets are open");
    one.stop().await?;
    two.stop().await
}

#[tokio::test]
async fn not_ready_while_db_or_broker_is_missing() -> anyhow::Result<()> {
    let (chat, stores) = Chat::own().await?;
    for service in Service::ALL {
        ensure!(chat.is_ready(service, 0).await?, "{service:?}");
    }
    stores.rabbitmq.stop().await?;
    for service in Service::ALL {
        await_ready(&chat, service, false).await?;
        // It is away for every pod: none could answer better.
        ensure!(chat.takes_requests(service, 0).await?, "{service:?}");
    }
    stores.rabbitmq.start().await?;
    for service in Service::ALL {
        await_ready(&chat, service, true).await?;
    }
    stores.postgres.stop().await?;
    for service in Service::ALL.into_iter().filter(|it| it.has_database()) {
        await_ready(&chat, service, false).await?;
        ensure!(!chat.takes_requests(service, 0).await?, "{service:?}");
    }
    stores.postgres.start().await?;
    for service in Service::ALL {
        await_ready(&chat, service, true).await?;
    }
    // Alive all the time: a restart would not have helped.
    for service in Service::ALL {
        ensure!(chat.is_alive(service, 0).await?);
    }
    Ok(())
}

async fn await_ready(chat: &Chat, service: Service, ready: bool) -> anyhow::Result<()> {
    await_until(
        &format!("{service:?} ready: {ready}"),
        RECOVERY,
        async || Ok((chat.is_ready(service, 0).await? == ready).then_some(())),
    )
    .await
}

#[tokio::test]
async fn one_trace_id_follows_http_broker_socket() -> anyhow::Result<()> {
    let chat = Chat::talkative().await?;
    let (ada, ben) = tokio::try_join!(
        Person::sign_up(&chat.site, "ada"),
        Person::sign_up(&chat.site, "ben")
    )?;
    let mut socket = ChatSocket::open(&ben).await?;
    let trace = format!("{:032x}", rand::random::<u128>().max(1));
    let answer = await_until("the conversation", SOON, async || {
        let request = ada
            .request(Method::POST, "/api/conversations")
            .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
            .json(&json!({ "user_id": ben.id }));
        let answer = ada.send(request).await?;
        Ok((answer.status == 201).then_some(answer))
    })
    .await?;
    ensure!(
        answer.header("x-request-id") == trace,
        "{:?}",
        answer.headers
    );
    socket
        .await_frame("the new conversation", SOON, |frame| {
            matches!(frame, chat_events::ServerFrame::ConversationCreated { .. }).then_some(())
        })
        .await?;
    for service in [Service::Messages, Service::SocketHandler] {
        await_until(service.name(), SOON, async || {
            let log = chat.log(service, 0).await?;
            Ok(log.contains(&trace).then_some(()))
        })
        .await?;
    }
    // And from a frame over the broker to the log of who stored it and who was told.
    let conversation = serde_json::from_value(answer.body["id"].clone())?;
    let mut talk = ChatSocket::open(&ada).await?;
    let sent = talk.say(conversation, "traced").await?;
    socket.await_stored(sent).await?;
    await_until("one trace in three services", SOON, async || {
        let mut common: Option<std::collections::HashSet<String>> = None;
        for service in [
            Service::SocketHandler,
            Service::Messages,
            Service::Notifications,
        ] {
            let ids = trace_ids(&chat.log(service, 0).await?);
            common = Some(match common {
                None => ids,
                Some(known) => known.intersection(&ids).cloned().collect(),
            });
        }
        Ok(common.is_some_and(|ids| !ids.is_empty()).then_some(()))
    })
    .await
}

fn trace_ids(log: &str) -> std::collections::HashSet<String> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|line| {
            let id = line["trace_id"].as_str();
            id.or(line["span"]["trace_id"].as_str()).map(str::to_owned)
        })
        .collect()
}

#[tokio::test]
async fn no_secret_is_in_the_logs_and_every_line_is_json() -> anyhow::Result<()> {
    let chat = Chat::talkative().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let secret = format!("canary-{}", uuid::Uuid::new_v4().simple());
    let client = ChatClient::start(&ada);
    client.send(conversation, &secret);
    client.await_outbox_empty(SOON).await?;
    ada.refresh().await?.expect(200)?;
    let guest = Browser::new(&chat.site)?;
    let wrong = format!("wrong-{secret}");
    for body in [
        json!({ "email": ada.email, "password": wrong }),
        json!({ "email": format!("{secret}@example.org"), "password": secret }),
        json!({ "email": ada.email, "password": [secret] }),
    ] {
        ensure!(guest.post("/api/auth/signin", &body).await?.status >= 400);
    }
    guest.set_cookie("auth", &secret);
    ensure!(guest.get("/api/users").await?.status == 401);
    guest.get(&format!("/api/users?token={secret}")).await?;
    let mut secrets = vec![secret, ada.password.clone(), ben.password.clone()];
    for name in ["auth", "refresh"] {
        secrets.extend(ada.cookie(name));
    }
    secrets.extend(chat.secrets());
    client.stop().await?;
    for service in Service::ALL {
        let log = chat.log(service, 0).await?;
        ensure!(!log.is_empty(), "{service:?} logs nothing");
        for line in log.lines() {
            let parsed: Result<Value, _> = serde_json::from_str(line);
            ensure!(parsed.is_ok(), "{service:?} logs {line}");
            for secret in &secrets {
                ensure!(!line.contains(secret), "{service:?} logs a secret: {line}");
            }
        }
    }
    Ok(())
}
