//! Bad input gets a 4xx problem with a stable code, and no row is written.

use chat_events::ConversationId;
use chat_events::Service;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::harness::{DEADLINE, ORIGIN, Person, Stack, json, message, stored, until};

async fn problem(
    stack: &Stack,
    person: &Person,
    method: Method,
    path: &str,
    body: Option<(&str, Vec<u8>)>,
) -> (u16, Value) {
    let mut request = stack.request(method, path).bearer_auth(&person.token);
    if let Some((kind, body)) = body {
        request = request.header("content-type", kind).body(body);
    }
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    let kind = answer.headers()["content-type"].clone();
    assert_eq!(kind, "application/problem+json", "{path}");
    let body = json(answer, status).await;
    assert_eq!(body["status"], status.as_u16());
    assert!(body["request_id"].as_str().is_some_and(|id| id.len() == 32));
    (status.as_u16(), body["code"].clone())
}

#[tokio::test]
async fn a_bad_body_is_refused_and_writes_nothing() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let sent = message(ConversationId::generate(), 1, &ann, "hi");
    stack.publish(stored(&[&ann, &ben], &sent)).await;
    let before = stack.unread(&ben, 1).await;
    until("the outbox is empty", async || {
        let left: i64 = sqlx::query_scalar("select count(*) from outbox")
            .fetch_one(&stack.database)
            .await
            .expect("a count");
        (left == 0).then_some(())
    })
    .await;
    let rows = stack.rows().await;
    const JSON: &str = "application/json";
    let many = format!(
        r#"{{"ids":[{}]}}"#,
        vec![format!("\"{}\"", uuid::Uuid::now_v7()); 101].join(",")
    );
    let notifs = many.replace("ids", "notifs");
    let huge = format!(r#"{{"all":true{}}}"#, " ".repeat(300 * 1024));
    let read: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        (JSON, b"".into(), 400, "invalid_json"),
        (JSON, b"{".into(), 400, "invalid_json"),
        (JSON, b"[]".into(), 400, "invalid_json"),
        (JSON, br#"{"all":"yes"}"#.into(), 400, "invalid_json"),
        (JSON, br#"{"ids":["x"]}"#.into(), 400, "invalid_json"),
        (JSON, br#"{"ids":["\u0000"]}"#.into(), 400, "invalid_json"),
        (
            JSON,
            br#"{"all":true,"more":1}"#.into(),
            400,
            "invalid_json",
        ),
        (
            JSON,
            b"{\"all\":true,\"\xff\":1}".into(),
            400,
            "invalid_json",
        ),
        (JSON, b"{}".into(), 400, "invalid"),
        (JSON, br#"{"all":false}"#.into(), 400, "invalid"),
        (JSON, br#"{"ids":[]}"#.into(), 400, "invalid"),
        (JSON, br#"{"ids":[],"all":true}"#.into(), 400, "invalid"),
        (JSON, many.into(), 400, "invalid"),
        (JSON, huge.into(), 413, "too_large"),
        (
            "text/plain",
            br#"{"all":true}"#.into(),
            415,
            "unsupported_media_type",
        ),
        (
            "application/x-www-form-urlencoded",
            b"all=true".into(),
            415,
            "unsupported_media_type",
        ),
    ];
    let earlier: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        (JSON, b"{}".into(), 400, "invalid_json"),
        (
            JSON,
            br#"{"notifs":[{"ID":1}]}"#.into(),
            400,
            "invalid_json",
        ),
        (
            JSON,
            br#"{"notifs":[{"id":"x"}]}"#.into(),
            400,
            "invalid_json",
        ),
        (JSON, br#"{"notifs":[]}"#.into(), 400, "invalid"),
        (JSON, notifs.into(), 400, "invalid_json"),
        (
            "text/plain",
            br#"{"notifs":[]}"#.into(),
            415,
            "unsupported_media_type",
        ),
    ];
    for (method, path, cases) in [
        (Method::POST, "/api/notifications/read", read),
        (Method::DELETE, "/ws/notifications/ben", earlier),
    ] {
        for (kind, body, status, code) in cases {
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            let given = problem(&stack, &ben, method.clone(), path, Some((kind, body))).await;
            assert_eq!(given, (status, code.into()), "{path} {shown}");
        }
    }
    assert_eq!(stack.list(&ben).await, before);
    assert_eq!(stack.rows().await, rows);
}

#[tokio::test]
async fn a_bad_query_id_or_method_is_refused() {
    let stack = Stack::start().await;
    let ben = stack.person("ben").await;
    let unknown = format!("/api/notifications/{}", uuid::Uuid::now_v7());
    let cases = [
        (Method::GET, "/api/notifications?limit=0", 400, "invalid"),
        (Method::GET, "/api/notifications?limit=101", 400, "invalid"),
        (Method::GET, "/api/notifications?limit=-1", 400, "invalid"),
        (Method::GET, "/api/notifications?limit=x", 400, "invalid"),
        (Method::GET, "/api/notifications?unread=1", 400, "invalid"),
        (Method::GET, "/api/notifications?page=2", 400, "invalid"),
        (
            Method::GET,
            "/api/notifications?cursor=x",
            400,
            "invalid_cursor",
        ),
        (
            Method::GET,
            "/api/notifications?cursor=",
            400,
            "invalid_cursor",
        ),
        (
            Method::GET,
            "/api/notifications?cursor=%00",
            400,
            "invalid_cursor",
        ),
        (Method::DELETE, "/api/notifications/x", 400, "invalid_id"),
        (Method::DELETE, "/api/notifications/%00", 400, "invalid_id"),
        (Method::DELETE, "/api/notifications/%FF", 400, "invalid_id"),
        (Method::DELETE, &unknown, 404, "not_found"),
        (Method::GET, &unknown, 405, "method_not_allowed"),
        (Method::PUT, "/api/notifications", 405, "method_not_allowed"),
        (
            Method::DELETE,
            "/ws/notifications/join",
            405,
            "method_not_allowed",
        ),
        (Method::GET, "/api/notifications/a/b", 404, "not_found"),
    ];
    for (method, path, status, code) in cases {
        let given = problem(&stack, &ben, method.clone(), path, None).await;
        assert_eq!(given, (status, code.into()), "{method} {path}");
    }
}

#[tokio::test]
async fn without_a_good_token_nothing_is_answered() {
    let stack = Stack::start().await;
    let mut tokens = stack.auth.bad_tokens();
    tokens.push(("none", String::new()));
    for (method, path) in [
        (Method::GET, "/api/notifications"),
        (Method::POST, "/api/notifications/read"),
        (Method::DELETE, "/api/notifications/x"),
        (Method::GET, "/ws/notifications/mallory"),
        (Method::DELETE, "/ws/notifications/mallory"),
    ] {
        for (name, token) in &tokens {
            let url = format!("http://127.0.0.1:{}{path}", stack.port);
            let request = stack.http.request(method.clone(), url);
            let request = request.header("origin", ORIGIN);
            let request = if *name == "none" {
                request
            } else {
                request.header("cookie", format!("auth={token}"))
            };
            let answer = request.send().await.expect("an answer");
            let problem = json(answer, StatusCode::UNAUTHORIZED).await;
            assert_eq!(problem["code"], "unauthenticated", "{name} {path}");
        }
    }
}

#[tokio::test]
async fn an_unreadable_event_goes_to_the_dead_letters_and_the_next_is_handled() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let (role, password) = (
        stack.cluster.role(Service::Messages),
        stack.cluster.password(Service::Messages).to_owned(),
    );
    let (port, vhost) = (stack.cluster.stores.rabbitmq_port, &stack.cluster.name);
    let uri = format!("amqp://{role}:{password}@127.0.0.1:{port}/{vhost}");
    let connection = Connection::connect(&uri, ConnectionProperties::default())
        .await
        .expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    for body in [&b"\xff\0 no JSON"[..], br#"{"v":99,"events":[]}"#] {
        channel
            .basic_publish(
                "MessageEventsExchange".into(),
                "message.stored".into(),
                BasicPublishOptions::default(),
                body,
                BasicProperties::default(),
            )
            .await
            .expect("a publish");
    }
    let sent = message(ConversationId::generate(), 1, &ann, "after them");
    stack.publish(stored(&[&ann, &ben], &sent)).await;
    stack.unread(&ben, 1).await;
    until("two dead letters", async || {
        let mut list = stack.command("dead-letters");
        let output = tokio::time::timeout(DEADLINE, list.arg("list").output());
        let output = output.await.expect("an end").expect("dead-letters runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        text.contains("2 dead letters found").then_some(text)
    })
    .await;
}
