//! Bad input gets a clear error and writes nothing.

use chat_events::limits;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Stack, names, problem, until};

#[tokio::test]
async fn a_bad_profile_is_refused_and_nothing_is_written() {
    let stack = Stack::start().await;
    let ada = stack.person("ada").await;
    let before = stack.state().await;
    let patch = || {
        stack
            .request(Method::PATCH, "/api/users/me")
            .bearer_auth(&ada.token)
    };
    let bytes: [(&[u8], &str, &str); 7] = [
        (b"", "invalid_json", "empty"),
        (b"{", "invalid_json", "cut off"),
        (b"[]", "invalid_json", "a list"),
        (b"null", "invalid_json", "null"),
        (br#"{"display_name":"a""#, "invalid_json", "no end"),
        (
            b"{\"display_name\":\"\xff\xfe\"}",
            "invalid_json",
            "no UTF-8",
        ),
        (b"{\"display_name\":\"\0\"}", "invalid_json", "a bare NUL"),
    ];
    for (body, code, what) in bytes {
        let request = patch().header("content-type", "application/json");
        let answer = request.body(body.to_vec()).send().await.expect(what);
        problem(answer, 400, code).await;
    }
    let id = chat_events::UserId::generate();
    for body in [
        json!({}),
        json!({ "display_name": 1 }),
        json!({ "display_name": null }),
        json!({ "display_name": ["a"] }),
        json!({ "display_name": "a", "id": id }),
        json!({ "display_name": "a", "username": "root" }),
        json!({ "display_name": "a", "version": 99 }),
        json!({ "display_name": "a", "status": "online" }),
        json!({ "display_name": "a", "is_admin": true }),
        json!({ "display_name": "a", "created_at": "2026-01-01T00:00:00Z" }),
    ] {
        let answer = patch().json(&body).send().await.expect("an answer");
        problem(answer, 400, "invalid_json").await;
    }
    let long = "x".repeat(*limits::DISPLAY_NAME_CHARS.end() + 1);
    for name in [
        "",
        "   ",
        &long,
        "a\0b",
        "a\nb",
        "a\u{7f}",
        "\u{1b}[0m",
        "a\u{85}",
    ] {
        let answer = stack.rename(&ada, name).await;
        let body = problem(answer, 400, "invalid").await;
        assert_eq!(body["errors"][0]["field"], "display_name", "{name:?}");
    }
    let large = json!({ "display_name": "x".repeat(limits::BODY) });
    let answer = patch().json(&large).send().await.expect("an answer");
    problem(answer, 413, "too_large").await;
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        let request = patch()
            .header("content-type", kind)
            .body(r#"{"display_name":"a"}"#);
        problem(
            request.send().await.expect("an answer"),
            415,
            "unsupported_media_type",
        )
        .await;
    }
    assert_eq!(stack.state().await, before);
}

#[tokio::test]
async fn a_bad_query_is_refused() {
    let stack = Stack::start().await;
    let people = stack.people(&["ada", "adam", "bob"]).await;
    let ada = &people[0];
    for query in [
        "sort=age",
        "sort=Username",
        "direction=up",
        "limit=ten",
        "limit=1&limit=2",
        "page=2",
        "q=a%00b",
        "q=a%0Ab",
        "q=%FF%FE",
        "username=%00",
        &format!("q={}", "x".repeat(65)),
    ] {
        let answer = stack.get(ada, &format!("/api/users?{query}")).await;
        problem(answer, 400, "invalid").await;
    }
    let page = stack.list(ada, "q=a&limit=1").await;
    let cursor = page["next_cursor"].as_str().expect("a cursor");
    let by_status = stack.list(ada, "sort=status&limit=1").await;
    let by_status = by_status["next_cursor"].as_str().expect("a cursor");
    for query in [
        "cursor=x".to_owned(),
        "cursor=".to_owned(),
        "cursor=e30".to_owned(),
        format!("cursor={}", "A".repeat(4_000)),
        format!("cursor={cursor}"),
        format!("q=b&cursor={cursor}"),
        format!("q=a&direction=desc&cursor={cursor}"),
        format!("q=a&cursor={by_status}"),
        format!("q=a&cursor={}", &cursor[..cursor.len() - 4]),
    ] {
        let answer = stack.get(ada, &format!("/api/users?{query}")).await;
        problem(answer, 400, "invalid_cursor").await;
    }
    let next = stack
        .list(ada, &format!("q=a&limit=1&cursor={cursor}"))
        .await;
    assert_eq!(names(&next), ["adam"]);
}

#[tokio::test]
async fn a_bad_id_is_refused() {
    let stack = Stack::start().await;
    let ada = stack.person("ada").await;
    for id in [
        "x",
        "1",
        "..%2F",
        "%00",
        "%FF",
        "00000000-0000-0000-0000-00000000000g",
    ] {
        let answer = stack.get(&ada, &format!("/api/users/{id}")).await;
        problem(answer, 400, "invalid_id").await;
    }
    let nobody = "/api/users/00000000-0000-0000-0000-000000000000";
    problem(stack.get(&ada, nobody).await, 404, "not_found").await;
    problem(stack.get(&ada, "/api/users/a/b").await, 404, "not_found").await;
    problem(stack.get(&ada, "/api/usersfoo").await, 404, "not_found").await;
}

#[tokio::test]
async fn without_a_good_session_nothing_is_answered() {
    let stack = Stack::start().await;
    let ada = stack.person("ada").await;
    let before = stack.state().await;
    let one = format!("/api/users/{}", ada.id);
    let routes = [
        (Method::GET, "/api/users"),
        (Method::GET, "/api/users?limit=9999"),
        (Method::GET, one.as_str()),
        (Method::GET, "/api/users/x"),
        (Method::PATCH, "/api/users/me"),
    ];
    for (method, path) in &routes {
        let request = || {
            stack
                .request(method.clone(), path)
                .json(&json!({"display_name": "x"}))
        };
        problem(
            request().send().await.expect("an answer"),
            401,
            "unauthenticated",
        )
        .await;
        for (what, token) in stack.auth.bad_tokens() {
            let answer = request().bearer_auth(&token).send().await.expect(what);
            problem(answer, 401, "unauthenticated").await;
            let cookie = format!("auth={token}");
            let answer = request().header("cookie", cookie).send().await.expect(what);
            problem(answer, 401, "unauthenticated").await;
        }
    }
    assert_eq!(stack.state().await, before);
    // The good one is taken in both places.
    let cookie = format!("auth={}", ada.token);
    let answer = stack.request(Method::GET, &one).header("cookie", cookie);
    assert_eq!(
        answer.send().await.expect("an answer").status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn another_site_cannot_change_a_profile() {
    let stack = Stack::start().await;
    let ada = stack.person("ada").await;
    let before = stack.state().await;
    let url = format!("http://127.0.0.1:{}/api/users/me", stack.replica.port);
    let headers: [&[(&str, &str)]; 4] = [
        &[],
        &[("origin", "https://evil.example")],
        &[
            ("sec-fetch-site", "cross-site"),
            ("origin", "http://localhost:8080"),
        ],
        &[("origin", "http://localhost:8080.evil.example")],
    ];
    for headers in headers {
        let mut request = stack
            .http
            .patch(&url)
            .header("cookie", format!("auth={}", ada.token))
            .json(&json!({ "display_name": "Mallory" }));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        problem(request.send().await.expect("an answer"), 403, "cross_site").await;
    }
    assert_eq!(stack.state().await, before);
}

#[tokio::test]
async fn an_ended_session_is_refused_within_a_second_by_push_and_later_by_the_list() {
    let stack = Stack::start().await;
    let [pushed, listed] = ["ada", "bob"].map(|name| stack.auth.person(name));
    let refused = async |person: &crate::harness::Person| {
        let answer = stack.get(person, "/api/users").await;
        (answer.status() == StatusCode::UNAUTHORIZED).then_some(())
    };
    for person in [&pushed, &listed] {
        assert!(refused(person).await.is_none());
    }
    let event = chat_events::SessionRevoked {
        user_id: pushed.id,
        session_id: pushed.session,
        until: jiff::Timestamp::now() + std::time::Duration::from_secs(600),
    };
    stack
        .publish(chat_events::Event::SessionRevoked(event))
        .await;
    let second = std::time::Duration::from_secs(1);
    crate::harness::within(second, "refused after the push", async || {
        refused(&pushed).await
    })
    .await;
    stack.auth.revoke_silently(listed.session);
    until("refused after the list", async || refused(&listed).await).await;
}

#[tokio::test]
async fn no_answer_shows_an_address_or_a_secret() {
    let stack = Stack::start().await;
    let ada = stack.person("ada").await;
    let page: Value = stack.list(&ada, "").await;
    for word in ["mail", "password", "version", "key", "@"] {
        assert!(!page.to_string().contains(word), "{word} in {page}");
    }
}
