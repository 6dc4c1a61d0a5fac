//! Bad input gets a 4xx problem with a stable code, and no row.

use chat_events::{Event, SessionRevoked, UserId};
use reqwest::Method;
use serde_json::json;

use crate::stage::{Auth, ORIGIN, Stage, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_query_is_refused_with_a_code() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, _, conversation) = stage.pair(&replica).await;
    for (path, code) in [
        ("/api/conversations?limit=0".to_owned(), "invalid"),
        ("/api/conversations?limit=101".to_owned(), "invalid"),
        ("/api/conversations?limit=x".to_owned(), "invalid"),
        ("/api/conversations?page=2".to_owned(), "invalid"),
        ("/api/conversations?cursor=".to_owned(), "invalid_cursor"),
        ("/api/conversations?cursor=1_2".to_owned(), "invalid_cursor"),
        (
            "/api/conversations?cursor=99999999999999999999_0".to_owned(),
            "invalid_cursor",
        ),
        ("/api/conversations?cursor=%00".to_owned(), "invalid_cursor"),
        ("/api/conversations/7".to_owned(), "invalid_id"),
        ("/api/conversations/%00".to_owned(), "invalid_id"),
        ("/api/conversations/%ff".to_owned(), "invalid_id"),
        ("/api/messages".to_owned(), "invalid"),
        ("/api/messages?conversation=7".to_owned(), "invalid"),
        ("/api/messages/events".to_owned(), "invalid"),
        (
            format!("/api/messages?conversation={conversation}&limit=0"),
            "invalid",
        ),
        (
            format!("/api/messages?conversation={conversation}&limit=101"),
            "invalid",
        ),
        (
            format!("/api/messages?conversation={conversation}&before=-1"),
            "invalid",
        ),
        (
            format!("/api/messages?conversation={conversation}&before=a"),
            "invalid",
        ),
        (
            format!("/api/messages?conversation={conversation}&before=9223372036854775808"),
            "invalid",
        ),
        (
            format!("/api/messages?conversation={conversation}&before=1&after=1"),
            "invalid",
        ),
        (
            format!("/api/messages?conversation={conversation}&username=anna"),
            "invalid",
        ),
        (
            format!("/api/messages/events?conversation={conversation}"),
            "invalid",
        ),
        (
            format!("/api/messages/events?conversation={conversation}&after=-1"),
            "invalid",
        ),
        (
            format!("/api/messages/events?conversation={conversation}&after=0&limit=501"),
            "invalid",
        ),
    ] {
        let answer = stage.get(&replica, &anna, &path).await;
        assert_eq!(answer.body["code"], code, "{path}: {answer:?}");
        answer.assert_problem(400, code);
    }
    for (path, count) in [
        (
            format!(
                "/api/messages?conversation={conversation}&limit=100&before=9223372036854775807"
            ),
            0,
        ),
        (
            format!("/api/messages?conversation={conversation}&limit=1&after=9223372036854775807"),
            0,
        ),
        (
            format!("/api/messages?conversation={conversation}&around=9223372036854775807"),
            0,
        ),
    ] {
        let page = stage.get(&replica, &anna, &path).await.assert(200);
        assert_eq!(page["messages"].as_array().map(Vec::len), Some(count));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_body_is_refused_and_leaves_no_row() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, ben) = (stage.person("anna").await, stage.person("ben").await);
    let good = json!({ "user_id": ben.id }).to_string();
    let extra = json!({ "user_id": ben.id, "id": UserId::generate(), "seq": 7 }).to_string();
    let large = format!("{{\"user_id\":\"{}\"}}", "x".repeat(256 * 1024));
    for (body, content_type, status, code) in [
        (b"{".to_vec(), "application/json", 400, "invalid_json"),
        (b"{}".to_vec(), "application/json", 400, "invalid_json"),
        (b"[]".to_vec(), "application/json", 400, "invalid_json"),
        (
            b"{\"user_id\":7}".to_vec(),
            "application/json",
            400,
            "invalid_json",
        ),
        (
            b"{\"user_id\":\"\\u0000\"}".to_vec(),
            "application/json",
            400,
            "invalid_json",
        ),
        (
            b"{\"user_id\":\"\xff\"}".to_vec(),
            "application/json",
            400,
            "invalid_json",
        ),
        (extra.into_bytes(), "application/json", 400, "invalid_json"),
        (large.into_bytes(), "application/json", 413, "too_large"),
        (
            good.clone().into_bytes(),
            "text/plain",
            415,
            "unsupported_media_type",
        ),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let answer = stage
            .ask(&replica, Method::POST, "/api/conversations", |request| {
                request
                    .bearer_auth(&anna.token)
                    .header("origin", ORIGIN)
                    .header("content-type", content_type)
                    .body(body)
            })
            .await;
        assert_eq!(answer.body["code"], code, "{shown}");
        answer.assert_problem(status, code);
    }
    for origin in [
        "http://evil.example",
        "null",
        "http://localhost:8080.evil.example",
    ] {
        stage
            .ask(&replica, Method::POST, "/api/conversations", |request| {
                request
                    .header("cookie", format!("auth={}", anna.token))
                    .header("origin", origin)
                    .header("content-type", "application/json")
                    .body(good.clone())
            })
            .await
            .assert_problem(403, "cross_site");
    }
    assert_eq!(stage.count("select count(*) from conversations").await, 0);
    stage
        .ask(&replica, Method::DELETE, "/api/conversations", |request| {
            request.bearer_auth(&anna.token).header("origin", ORIGIN)
        })
        .await
        .assert_problem(405, "method_not_allowed");
    stage
        .get(&replica, &anna, "/api/messages/nothing")
        .await
        .assert_problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_expired_forged_or_foreign_token_opens_anything() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, _, conversation) = stage.pair(&replica).await;
    let good = stage.auth.claims(anna.id, "anna");
    let mut expired = good.clone();
    (expired.iat, expired.nbf, expired.exp) = (good.iat - 700, good.iat - 700, good.iat - 100);
    let mut long_lived = good.clone();
    long_lived.exp = good.iat + 86_400;
    let mut of_another_cluster = good.clone();
    of_another_cluster.aud = "other".into();
    of_another_cluster.iss = "chatcluster/other".into();
    let tokens = [
        String::new(),
        "nonsense".into(),
        "x".repeat(5_000),
        stage.auth.sign(&expired),
        stage.auth.sign(&long_lived),
        stage.auth.sign(&of_another_cluster),
        Auth::forge(&good),
    ];
    let paths = [
        "/api/conversations".to_owned(),
        "/api/conversations/positions".to_owned(),
        format!("/api/conversations/{conversation}"),
        format!("/api/messages?conversation={conversation}"),
        format!("/api/messages/events?conversation={conversation}&after=0"),
    ];
    for path in &paths {
        for token in &tokens {
            stage
                .ask(&replica, Method::GET, path, |request| {
                    request.header("cookie", format!("auth={token}"))
                })
                .await
                .assert_problem(401, "unauthenticated");
        }
        stage
            .ask(&replica, Method::GET, path, |request| request)
            .await
            .assert_problem(401, "unauthenticated");
        stage
            .ask(&replica, Method::GET, path, |request| {
                request.header("cookie", format!("auth={}", anna.token))
            })
            .await
            .assert(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_is_refused_at_once() {
    let (stage, replica) = Stage::with_replica().await;
    let id = UserId::generate();
    let claims = stage.auth.claims(id, "anna");
    let mut anna = stage.guest(id, "anna");
    anna.token = stage.auth.sign(&claims);
    stage
        .get(&replica, &anna, "/api/conversations")
        .await
        .assert(200);
    stage
        .publish(Event::SessionRevoked(SessionRevoked {
            user_id: id,
            session_id: claims.sid.into(),
            until: jiff::Timestamp::now() + jiff::SignedDuration::from_mins(15),
        }))
        .await;
    // Auth's list does not name it: only the push can have told.
    until("it is refused", async || {
        let answer = stage.get(&replica, &anna, "/api/conversations").await;
        (answer.status == 401).then_some(())
    })
    .await;
}
