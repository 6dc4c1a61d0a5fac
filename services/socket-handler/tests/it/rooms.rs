//! The paths of the earlier system.

use serde_json::{Value, json};

use crate::neighbours::Person;
use crate::socket::Socket;
use crate::world::{ORIGIN, Pod, World};

async fn create(
    world: &World,
    pod: &Pod,
    who: &Person,
    body: Value,
) -> anyhow::Result<(u16, Value)> {
    let answer = reqwest::Client::new()
        .post(format!("{}/ws/chat/createRoom", pod.url))
        .header("cookie", format!("auth={}", world.neighbours.token(who)?))
        .header("origin", ORIGIN)
        .json(&body)
        .send()
        .await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

async fn join(world: &World, pod: &Pod, who: &Person, path: &str) -> anyhow::Result<(u16, Value)> {
    let answer = reqwest::Client::new()
        .post(format!("{}{path}", pod.url))
        .header("cookie", format!("auth={}", world.neighbours.token(who)?))
        .header("origin", ORIGIN)
        .send()
        .await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

#[tokio::test]
async fn a_room_is_the_conversation_with_its_peer() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let [ann, bob] = ["ann", "bob"].map(|name| world.neighbours.person(name));
    world.neighbours.person("bobby");
    let (status, room) = create(&world, &pod, &ann, json!({"id": "7", "name": "bob"})).await?;
    assert_eq!((status, &room["name"]), (200, &json!("bob")));
    for body in [
        json!({"name": bob.id}),
        json!({"user_id": bob.id}),
        json!({"name": "bob"}),
    ] {
        assert_eq!(create(&world, &pod, &ann, body).await?, (200, room.clone()));
    }
    let path = format!(
        "/ws/chat/joinRoom/{}",
        room["id"].as_str().unwrap_or_default()
    );
    for person in [&ann, &bob] {
        let token = world.neighbours.token(person)?;
        let mut socket = Socket::open(&pod.url, &path, Some(&token), Some(ORIGIN))
            .await
            .map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        let hello = socket.frame().await?;
        assert_eq!(hello["positions"][0]["conversation_id"], room["id"]);
    }
    assert_eq!(join(&world, &pod, &ann, &path).await?, (200, room.clone()));
    let (status, joined) = join(&world, &pod, &bob, &path).await?;
    assert_eq!((status, &joined["name"]), (200, &json!("ann")));
    assert_eq!(joined["id"], room["id"]);
    let eve = world.neighbours.person("eve");
    for (path, status, code) in [
        (path.as_str(), 404, "not_found"),
        ("/ws/chat/joinRoom/7", 400, "invalid_id"),
    ] {
        let (given, problem) = join(&world, &pod, &eve, path).await?;
        assert_eq!((given, &problem["code"]), (status, &json!(code)), "{path}");
    }
    let token = world.neighbours.token(&eve)?;
    let refused = Socket::open(&pod.url, &path, Some(&token), Some(ORIGIN)).await;
    assert_eq!(refused.err().map(|refused| refused.status), Some(404));
    let refused = Socket::open(&pod.url, "/ws/chat/joinRoom/7", Some(&token), Some(ORIGIN)).await;
    assert_eq!(refused.err().map(|refused| refused.status), Some(400));
    Ok(())
}

#[tokio::test]
async fn a_room_needs_a_body_of_the_right_form_and_a_peer_who_exists() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let ann = world.neighbours.person("ann");
    for (body, status, code) in [
        (json!({}), 400, "invalid"),
        (json!({"name": ""}), 400, "invalid"),
        (json!({"name": "a\0b"}), 400, "invalid"),
        (json!({"name": "ann"}), 400, "invalid"),
        (json!({"user_id": "1"}), 400, "invalid_json"),
        (json!({"name": 7}), 400, "invalid_json"),
        (json!({"name": "bob", "owner": "me"}), 400, "invalid_json"),
        (json!([]), 400, "invalid_json"),
        (json!({"name": "nobody"}), 404, "not_found"),
        (json!({"user_id": uuid::Uuid::now_v7()}), 404, "not_found"),
        (json!({"name": "x".repeat(300 * 1024)}), 413, "too_large"),
    ] {
        let (given, problem) = create(&world, &pod, &ann, body.clone()).await?;
        let start: String = body.to_string().chars().take(60).collect();
        assert_eq!((given, &problem["code"]), (status, &json!(code)), "{start}");
    }
    assert!(world.neighbours.known().conversations.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_room_is_made_only_from_our_own_pages_with_json_and_a_session() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let [ann, _bob] = ["ann", "bob"].map(|name| world.neighbours.person(name));
    let cookie = format!("auth={}", world.neighbours.token(&ann)?);
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = reqwest::Client::new()
            .post(format!("{}/ws/chat/createRoom", pod.url))
            .body("{\"name\":\"bob\"}");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        anyhow::Ok(request.send().await?.status().as_u16())
    };
    let (cookie, json) = (
        ("cookie", cookie.as_str()),
        ("content-type", "application/json"),
    );
    assert_eq!(ask(&[cookie, json]).await?, 403);
    assert_eq!(
        ask(&[cookie, json, ("origin", "http://evil.test")]).await?,
        403
    );
    assert_eq!(ask(&[json, ("origin", ORIGIN)]).await?, 401);
    assert_eq!(ask(&[cookie, ("origin", ORIGIN)]).await?, 415);
    assert!(world.neighbours.known().conversations.is_empty());
    assert_eq!(ask(&[cookie, json, ("origin", ORIGIN)]).await?, 200);
    Ok(())
}
