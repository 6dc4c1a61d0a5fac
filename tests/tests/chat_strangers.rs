//! Somebody else's data: every documented route and every socket command, asked
//! by nobody, by a stranger, and with forty forged tokens.

mod strangers {
    pub mod routes;
    pub mod victims;
}

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use chat_e2e::{Browser, Chat, ChatSocket, Forge, Person, Refused};
use chat_events::{ClientFrame, ClientId, Code, ServerFrame, Service};
use serde_json::Value;
use strangers::routes::{ROUTES, Route, Stranger};
use strangers::victims::Victims;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn every_documented_route_has_a_row_and_every_row_is_documented() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let guest = Browser::new(&chat.site)?;
    let mut documented = BTreeSet::new();
    for service in Service::ALL {
        let path = format!("/api/{}/openapi.json", service.name());
        let document = guest.get(&path).await?.expect(200)?;
        let paths = document["paths"].as_object().context("no paths")?;
        // What only services ask is not routed: see the last test.
        for (path, methods) in paths.iter().filter(|(path, _)| !is_internal(path)) {
            let methods = methods.as_object().context("no methods")?;
            documented.extend(
                methods
                    .keys()
                    .filter(|key| METHODS.contains(&key.as_str()))
                    .map(|method| format!("{} {path}", method.to_uppercase())),
            );
        }
    }
    let rows: BTreeSet<_> = ROUTES
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    let without: Vec<_> = documented.difference(&rows).collect();
    let too_many: Vec<_> = rows.difference(&documented).collect();
    ensure!(
        without.is_empty() && too_many.is_empty(),
        "without a row: {without:?}; not documented: {too_many:?}"
    );
    ensure!(rows.len() == ROUTES.len(), "a row is there twice");
    Ok(())
}

fn is_internal(path: &str) -> bool {
    path.starts_with("/internal/")
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[tokio::test]
async fn a_third_user_who_tries_every_endpoint_gets_nothing_and_changes_nothing()
-> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let victims = Victims::meet(&chat).await?;
    let eve = Person::sign_up(&chat.site, "eve").await?;
    let before = victims.everything().await?;
    for route in ROUTES.iter().filter(|route| !route.ends_session()) {
        let (status, body) = ask(&eve, route, &victims).await?;
        let fine = match route.stranger {
            Stranger::Gets(expected) => status == expected,
            Stranger::SeesOwn => (200..300).contains(&status),
        };
        ensure!(fine, "{} {}: {status} {body}", route.method, route.path);
        for secret in victims.secrets() {
            ensure!(
                !body.contains(&secret),
                "{} {} shows {secret}: {body}",
                route.method,
                route.path
            );
        }
    }
    let after = victims.everything().await?;
    ensure!(before == after, "{before} became {after}");
    Ok(())
}

#[tokio::test]
async fn nobody_gets_401_from_every_private_route() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let victims = Victims::meet(&chat).await?;
    let before = victims.everything().await?;
    let guest = Browser::new(&chat.site)?;
    for route in ROUTES.iter().filter(|route| route.private) {
        let (status, body) = ask(&guest, route, &victims).await?;
        ensure!(
            status == 401,
            "{} {}: {status} {body}",
            route.method,
            route.path
        );
    }
    ensure!(before == victims.everything().await?);
    Ok(())
}

#[tokio::test]
async fn forged_or_expired_token_gets_401_everywhere() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let victims = Victims::meet(&chat).await?;
    let before = victims.everything().await?;
    let (forge, forged) = chat.forged_tokens(&victims.ada).await?;
    let guest = Browser::new(&chat.site)?;
    for route in ROUTES.iter().filter(|route| route.private) {
        for forged in &forged {
            guest.set_cookie("auth", &forged.token);
            let (status, body) = ask(&guest, route, &victims).await?;
            ensure!(
                status == 401,
                "{} {} takes {}: {status} {body}",
                route.method,
                route.path,
                forged.name
            );
        }
    }
    // A guest may join the notices; somebody with a bad token may not.
    for forged in &forged {
        guest.set_cookie("auth", &forged.token);
        let status = upgrade(&guest, "/ws/notifications/join").await?.0;
        ensure!(status == 401, "the notices take {}: {status}", forged.name);
    }
    ensure!(before == victims.everything().await?);
    accepted_when_signed_well(&guest, &forge).await
}

/// Shows that the forty are refused for their faults alone.
async fn accepted_when_signed_well(guest: &Browser, forge: &Forge) -> anyhow::Result<()> {
    guest.set_cookie("auth", &forge.valid());
    for path in [
        "/api/auth/currentuser",
        "/api/users",
        "/api/conversations",
        "/api/notifications",
    ] {
        guest.get(path).await?.expect(200).with_context(|| path)?;
    }
    for path in ["/ws/chat", "/ws/notifications/join"] {
        ensure!(upgrade(guest, path).await?.0 == 101, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_stranger_who_tries_every_socket_command_is_refused_and_changes_nothing()
-> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let victims = Victims::meet(&chat).await?;
    let eve = Person::sign_up(&chat.site, "eve").await?;
    let before = victims.everything().await?;
    let mut watch = ChatSocket::open(&victims.ben).await?;
    let mut socket = ChatSocket::open(&eve).await?;
    let conversation_id = victims.conversation;
    let client_id = ClientId::generate();
    for command in [
        ClientFrame::MessageCreate {
            client_id,
            conversation_id,
            content: "from a stranger".into(),
        },
        ClientFrame::MessageRead {
            conversation_id,
            up_to: 1,
        },
    ] {
        socket.send(&command).await?;
        let code = socket
            .await_error()
            .await
            .with_context(|| format!("{command:?}"))?;
        ensure!(
            matches!(code, Code::NotFound | Code::Forbidden),
            "{command:?}: {code:?}"
        );
    }
    // Typing is only a hint: it has no answer.
    let typing = ClientFrame::Typing {
        conversation_id,
        active: true,
    };
    socket.send(&typing).await?;
    // A resume gets nothing but the advice to fetch, which is refused over HTTP.
    let resume = ClientFrame::Resume {
        conversation_id,
        after: 0,
    };
    socket.send(&resume).await?;
    let seen = socket.collect(Duration::from_millis(500)).await?;
    for secret in victims.secrets() {
        ensure!(!format!("{seen:?}").contains(&secret), "{seen:?}");
    }
    ensure!(
        !seen
            .iter()
            .any(|frame| matches!(frame, ServerFrame::Log(_) | ServerFrame::Resumed { .. })),
        "{seen:?}"
    );
    // A message of a member is later than anything that got through.
    let mut ada = ChatSocket::open(&victims.ada).await?;
    let own = victims.ada.conversation_with(&eve).await?;
    let marker = ada.say(own, "marker").await?;
    socket.await_stored(marker).await?;
    ensure!(before == victims.everything().await?);
    let marker = ada.say(conversation_id, "marker for Ben").await?;
    watch
        .await_frame("the marker", SOON, |frame| match frame {
            ServerFrame::Log(event) => Some(ensure_marker(event, marker)),
            ServerFrame::Typing { user_id, .. } if *user_id == eve.id => {
                Some(Err(anyhow::anyhow!("a stranger's typing got through")))
            }
            _ => None,
        })
        .await?
}

fn ensure_marker(event: &chat_events::LogEvent, marker: ClientId) -> anyhow::Result<()> {
    match event {
        chat_events::LogEvent::Message { message, .. } if message.client_id == marker => Ok(()),
        other => anyhow::bail!("a stranger's command got through: {other:?}"),
    }
}

#[tokio::test]
async fn internal_paths_and_look_alikes_are_not_routed() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let guest = Browser::new(&chat.site)?;
    for path in [
        "/internal/revocations",
        "/api/internal/revocations",
        "/api/auth/internal/revocations",
        "/api/auth/../../internal/revocations",
        "/api/auth/%2e%2e/%2e%2e/internal/revocations",
        "/metrics",
        "/readyz",
        "/livez",
        "/wsfoo",
        "/ws/chatter",
        "/api/usersfoo",
        "/api/messagesfoo",
    ] {
        let answer = guest.get(path).await?;
        let from_client = answer.text.to_lowercase().contains("<!doctype html>");
        ensure!(
            answer.status == 404 || answer.status == 400 || from_client,
            "{path}: {answer}"
        );
        ensure!(!answer.text.contains("\"revoked\""), "{path}: {answer}");
        ensure!(!answer.text.contains("chat_http_requests"), "{path}");
    }
    Ok(())
}

/// Asks for the victims' data on that route; status and body.
async fn ask(browser: &Browser, route: &Route, victims: &Victims) -> anyhow::Result<(u16, String)> {
    let (path, body) = (route.ask)(victims);
    if route.upgrade {
        return upgrade(browser, &path).await;
    }
    let mut request = browser.request(route.method.parse()?, &path);
    if body != Value::Null {
        request = request.json(&body);
    }
    // Whatever cookies the answer sets must not change who asks.
    let before = browser.cookie_header();
    let answer = browser.send(request).await?;
    ensure!(
        route.sets_cookies || before == browser.cookie_header(),
        "{path} changed the cookies"
    );
    Ok((answer.status, answer.text))
}

async fn upgrade(browser: &Browser, path: &str) -> anyhow::Result<(u16, String)> {
    let origin = browser.site.origin.clone();
    match ChatSocket::connect(browser, path, Some(&origin)).await {
        Ok(_) => Ok((101, String::new())),
        Err(error) => {
            let refused = error.downcast::<Refused>()?;
            Ok((refused.status, refused.body))
        }
    }
}
