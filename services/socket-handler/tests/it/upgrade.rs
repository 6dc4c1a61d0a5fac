//! Everything that is refused is refused before the upgrade.

use chat_events::limits;
use serde_json::json;

use crate::neighbours::forge;
use crate::socket::Socket;
use crate::world::{ORIGIN, World};

#[tokio::test]
async fn without_a_good_session_there_is_no_socket() -> anyhow::Result<()> {
    let world = World::new().await?;
    let ann = world.neighbours.person("ann");
    let ended = world.neighbours.person("ended");
    world.neighbours.known().revoked.push(ended.session);
    let pod = world.pod().await?;
    let claims = world.neighbours.claims(&ann);
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        world.neighbours.sign(&claims)
    };
    let now = jiff::Timestamp::now().as_second();
    for (what, token) in [
        ("nothing", String::new()),
        ("no token", "nonsense".into()),
        ("another key", forge(&claims)?),
        ("expired", with("exp", json!(now - 60))?),
        ("not yet", with("nbf", json!(now + 120))?),
        ("for another cluster", with("aud", json!("other"))?),
        (
            "of another cluster",
            with("iss", json!("chatcluster/other"))?,
        ),
        ("too long a life", with("exp", json!(now + 100_000))?),
        ("an ended session", world.neighbours.token(&ended)?),
    ] {
        let token = Some(token.as_str()).filter(|token| !token.is_empty());
        let refused = Socket::open(&pod.url, "/ws/chat", token, Some(ORIGIN)).await;
        let refused = refused
            .err()
            .unwrap_or_else(|| panic!("{what} opened a socket"));
        assert_eq!(
            (refused.status, refused.code),
            (401, json!("unauthenticated")),
            "{what}"
        );
    }
    let good = world.neighbours.token(&ann)?;
    let in_url = format!("/ws/chat?token={good}&auth={good}");
    let refused = Socket::open(&pod.url, &in_url, None, Some(ORIGIN)).await;
    assert_eq!(refused.err().map(|refused| refused.status), Some(401));
    world.socket(&pod, &ann).await?;
    Ok(())
}

const TRICKY: [&str; 30] = [
    "",
    "null",
    "*",
    "http://localhost",
    "http://localhost:",
    "http://localhost:80",
    "http://localhost:8081",
    "http://localhost:08080",
    "http://localhost:80800",
    "https://localhost:8080",
    "ws://localhost:8080",
    "HTTP://localhost:8080",
    "http://LOCALHOST:8080",
    "http://Localhost:8080",
    "http://localhost.:8080",
    "http://localhost:8080/",
    "http://localhost:8080/x",
    "http://localhost:8080?x",
    "http://localhost:8080#x",
    "http://localhost:8080.evil.test",
    "http://localhost.evil.test:8080",
    "http://evil.test:8080",
    "http://evil.localhost:8080",
    "http://evillocalhost:8080",
    "http://localhost:8080@evil.test",
    "http://evil.test@localhost:8080",
    "http://localhost:8080, http://evil.test",
    "http://127.0.0.1:8080",
    "//localhost:8080",
    "http://loc\u{430}lhost:8080",
];

#[tokio::test]
async fn only_our_own_origin_compared_whole_opens_a_socket() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let ann = world.neighbours.person("ann");
    let token = world.neighbours.token(&ann)?;
    let open = async |origin| Socket::open(&pod.url, "/ws/chat", Some(&token), origin).await;
    for origin in TRICKY.map(Some).into_iter().chain([None]) {
        let refused = open(origin).await;
        let refused = refused
            .err()
            .unwrap_or_else(|| panic!("{origin:?} opened a socket"));
        assert_eq!(
            (refused.status, refused.code),
            (403, json!("cross_site")),
            "{origin:?}"
        );
    }
    assert!(open(Some(ORIGIN)).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_no_websocket_is_told_so() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let ann = world.neighbours.person("ann");
    let answer = reqwest::Client::new()
        .get(format!("{}/ws/chat", pod.url))
        .header("cookie", format!("auth={}", world.neighbours.token(&ann)?))
        .header("origin", ORIGIN)
        .send()
        .await?;
    assert_eq!(answer.status(), 426);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: serde_json::Value = answer.json().await?;
    assert_eq!(problem["code"], "upgrade_required");
    Ok(())
}

#[tokio::test]
async fn a_user_has_ten_sockets_and_an_address_fifty() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let refused = async |person| {
        let token = world.neighbours.token(person)?;
        let refused = Socket::open(&pod.url, "/ws/chat", Some(&token), Some(ORIGIN)).await;
        anyhow::Ok(refused.err().map(|refused| (refused.status, refused.code)))
    };
    let too_many = Some((429, json!("too_many_sockets")));
    let people: Vec<_> = (0..5)
        .map(|number| world.neighbours.person(&format!("user{number}")))
        .collect();
    let mut sockets = Vec::new();
    for person in &people {
        for _ in 0..limits::SOCKETS_PER_USER {
            sockets.push(world.socket(&pod, person).await?);
        }
        assert_eq!(refused(person).await?, too_many, "the user's limit");
    }
    let late = world.neighbours.person("late");
    assert_eq!(refused(&late).await?, too_many, "the address' limit");
    let gone = sockets.pop();
    drop(gone);
    crate::world::until("a place is free", async || {
        refused(&late).await.is_ok_and(|answer| answer.is_none())
    })
    .await
}

#[tokio::test]
async fn without_messages_there_is_no_hello_and_so_no_socket() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let ann = world.neighbours.person("ann");
    let token = world.neighbours.token(&ann)?;
    world.neighbours.known().messages_away = true;
    for _ in 0..limits::SOCKETS_PER_USER + 1 {
        let refused = Socket::open(&pod.url, "/ws/chat", Some(&token), Some(ORIGIN)).await;
        assert_eq!(refused.err().map(|refused| refused.status), Some(503));
    }
    // And what was refused holds no place.
    world.neighbours.known().messages_away = false;
    world.socket(&pod, &ann).await?;
    Ok(())
}
