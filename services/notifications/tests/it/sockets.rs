//! How a notification socket opens, lives and ends.

use std::time::Duration;

use chat_events::{ConversationId, Event, Recorded, limits};
use futures::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{
    DEADLINE, ORIGIN, Socket, Stack, json as body, message, revoked, seen, stored, until,
};

#[tokio::test]
async fn only_our_own_pages_open_a_socket() {
    let stack = Stack::start().await;
    let ann = stack.person("ann").await;
    let origins = [
        "http://localhost",
        "http://localhost:8081",
        "https://localhost:8080",
        "http://localhost:8080.evil.example",
        "http://localhost:8080/",
        "http://LOCALHOST:8080",
        "http://evil.example/http://localhost:8080",
        "null",
        "",
    ];
    for token in [None, Some(ann.token.as_str())] {
        for origin in origins {
            let mut request = stack.upgrade(token);
            let header = origin.parse().expect("a header");
            request.headers_mut().insert("origin", header);
            assert_eq!(Socket::open(request).await.err(), Some(403), "{origin:?}");
        }
        let mut request = stack.upgrade(token);
        request.headers_mut().remove("origin");
        assert_eq!(Socket::open(request).await.err(), Some(403), "no origin");
        let mut request = stack.upgrade(token);
        let header = "http://evil.example".parse().expect("a header");
        request.headers_mut().append("origin", header);
        assert_eq!(Socket::open(request).await.err(), Some(403), "two origins");
    }
}

#[tokio::test]
async fn a_bad_token_is_refused_and_does_not_make_a_guest() {
    let stack = Stack::start().await;
    for (name, token) in stack.auth.bad_tokens() {
        let request = stack.upgrade(Some(&token));
        assert_eq!(Socket::open(request).await.err(), Some(401), "{name}");
    }
}

#[tokio::test]
async fn without_an_upgrade_the_path_says_that_it_is_a_socket() {
    let stack = Stack::start().await;
    let answer = stack.request(Method::GET, "/ws/notifications/join").send();
    let problem = body(
        answer.await.expect("an answer"),
        StatusCode::UPGRADE_REQUIRED,
    )
    .await;
    assert_eq!(problem["code"], "upgrade_required");
}

#[tokio::test]
async fn a_user_has_ten_sockets_and_an_address_fifty() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let open = async |token: Option<&str>, address: &str| {
        let mut request = stack.upgrade(token);
        let header = address.parse().expect("a header");
        request.headers_mut().insert("x-forwarded-for", header);
        Socket::open(request).await
    };
    let mut sockets = Vec::new();
    for _ in 0..10 {
        let socket = open(Some(&ann.token), "192.0.2.1").await;
        sockets.push(socket.expect("one of ten"));
    }
    let again = stack.auth.session_of(ann.id, "ann", 300);
    let more = open(Some(&again.token), "192.0.2.2").await;
    assert_eq!(
        more.err(),
        Some(429),
        "the eleventh, wherever it comes from"
    );
    for _ in 10..50 {
        sockets.push(open(None, "192.0.2.1").await.expect("one of fifty"));
    }
    for token in [None, Some(ben.token.as_str())] {
        assert_eq!(open(token, "192.0.2.1").await.err(), Some(429));
        assert!(open(token, "192.0.2.3").await.is_ok());
    }
    drop(sockets);
    until("a place is free again", async || {
        open(Some(&ann.token), "192.0.2.1").await.ok()
    })
    .await;
}

#[tokio::test]
async fn whatever_a_client_says_is_an_error_and_reaches_nobody() {
    let stack = Stack::start().await;
    let ann = stack.person("ann").await;
    let (mut guest, _) = stack.join(None).await;
    let (mut other, _) = stack.join(Some(&ann)).await;
    for frame in [
        Message::text("hello everybody"),
        Message::text(r#"{"type":"user.online"}"#),
        Message::text("\0"),
        Message::binary(vec![0xff, 0]),
    ] {
        guest.send(frame).await;
        let answer = guest.next().await;
        assert_eq!(answer["type"], "error");
        assert_eq!(answer["code"], "invalid_frame");
    }
    stack.publish(Event::UserOnline(seen(&ann))).await;
    assert_eq!(other.next().await["type"], "user.online");
}

#[tokio::test]
async fn a_client_that_does_not_stop_talking_is_closed_with_1008() {
    let stack = Stack::start().await;
    let (mut guest, _) = stack.join(None).await;
    for _ in 0..=limits::FRAMES_PER_WINDOW {
        guest.send(Message::text("x")).await;
    }
    assert_eq!(guest.closed().await, 1008);
}

#[tokio::test]
async fn a_frame_over_the_limit_is_closed_with_1009() {
    let stack = Stack::start().await;
    let (mut guest, _) = stack.join(None).await;
    guest.send(Message::text("x".repeat(limits::FRAME))).await;
    assert_eq!(
        guest.next().await["type"],
        "error",
        "the largest is only useless"
    );
    guest
        .send(Message::text("x".repeat(limits::FRAME + 1)))
        .await;
    assert_eq!(guest.closed().await, 1009);
}

#[tokio::test]
async fn a_quiet_socket_hears_heartbeats() {
    let stack = Stack::start_with(&[("HEARTBEAT_SECONDS", "1")]).await;
    let (mut guest, _) = stack.join(None).await;
    for _ in 0..5 {
        let frame = timeout(Duration::from_secs(15), guest.next_of_any_type()).await;
        assert_eq!(frame.expect("in time"), json!({ "type": "heartbeat" }));
    }
}

#[tokio::test]
async fn a_peer_that_never_answers_is_let_go() {
    let stack = Stack::start_with(&[("HEARTBEAT_SECONDS", "1")]).await;
    let ann = stack.person("ann").await;
    let (silent, _) = stack.join(Some(&ann)).await;
    // Whoever does not read does not answer pings; the connection stays open.
    for wanted in [true, false] {
        until("its lease", async || {
            let online = stack.is_online(&ann).await;
            (online == wanted).then_some(())
        })
        .await;
    }
    drop(silent);
}

#[tokio::test]
async fn a_socket_lives_as_long_as_its_token() {
    let stack = Stack::start().await;
    let ann = stack.person("ann").await;
    let short = stack.auth.session_of(ann.id, "ann", 3);
    let begun = Instant::now();
    let (mut socket, _) = stack.join(Some(&short)).await;
    assert_eq!(socket.closed().await, 4001);
    let lived = begun.elapsed();
    assert!(lived < Duration::from_secs(5), "{lived:?}");
}

#[tokio::test]
async fn an_ended_session_closes_its_sockets_and_no_others() {
    let stack = Stack::start().await;
    let ann = stack.person("ann").await;
    let phone = stack.auth.session_of(ann.id, "ann", 300);
    let (mut at_desk, _) = stack.join(Some(&ann)).await;
    let (mut at_phone, _) = stack.join(Some(&phone)).await;
    let begun = Instant::now();
    stack.publish(revoked(&phone)).await;
    assert_eq!(at_phone.closed().await, 4003);
    assert!(begun.elapsed() < Duration::from_secs(1), "within a second");
    let request = stack.upgrade(Some(&phone.token));
    assert_eq!(Socket::open(request).await.err(), Some(401));
    let answer = stack.get("/api/notifications", &phone).send().await;
    assert_eq!(
        answer.expect("an answer").status(),
        StatusCode::UNAUTHORIZED
    );
    stack.publish(Event::UserOnline(seen(&ann))).await;
    assert_eq!(at_desk.next().await["type"], "user.online");
}

#[tokio::test]
async fn an_ended_session_is_found_without_being_told() {
    let stack = Stack::start_with(&[("HEARTBEAT_SECONDS", "1")]).await;
    let ann = stack.person("ann").await;
    let (mut socket, _) = stack.join(Some(&ann)).await;
    stack.auth.revoke_silently(ann.session);
    assert_eq!(socket.closed().await, 4003);
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_closed_with_4008_and_loses_nothing() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let (mut quick, _) = stack.join(Some(&ben)).await;
    // Small buffers, so that few frames are on their way.
    let plain = TcpSocket::new_v4().expect("a socket");
    plain.set_recv_buffer_size(4096).expect("a small buffer");
    let address = ([127, 0, 0, 1], stack.port).into();
    let stream = plain.connect(address).await.expect("a connection");
    let request = stack.upgrade(Some(&ben.token));
    let (mut slow, _) = client_async(request, stream).await.expect("an upgrade");
    let conversation = ConversationId::generate();
    let count = 8_000;
    let text = "🙂".repeat(120);
    let numbers: Vec<i64> = (1..=count).collect();
    // As many at a time as may wait for the quick one, however busy the machine is.
    for part in numbers.chunks(limits::OUT_QUEUE_EVENTS / 2) {
        let events = part.iter().map(|seq| {
            let sent = message(conversation, *seq, &ann, &text);
            Recorded::new(stored(&[&ann, &ben], &sent), None)
        });
        stack.publish_all(events.collect()).await;
        for _ in part {
            quick.next().await;
        }
    }
    stack.unread(&ben, count).await;
    let mut code = None;
    timeout(DEADLINE, async {
        while let Some(Ok(frame)) = slow.next().await {
            if let Message::Close(Some(frame)) = frame {
                code = Some(u16::from(frame.code));
            }
        }
    })
    .await
    .expect("the end of the connection");
    // A peer that took nothing for a whole second just finds the connection closed.
    assert!(matches!(code, Some(4008) | None), "{code:?}");
    let closed = stack
        .metric("chat_sockets_closed_total{code=\"4008\"}")
        .await;
    assert_eq!(closed, Some(1));
    let (_, hello) = stack.join(Some(&ben)).await;
    assert_eq!(hello["unread"], count);
}

#[tokio::test]
async fn sockets_come_back_for_a_new_hello_when_the_broker_was_away() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let (mut socket, _) = stack.join(Some(&ben)).await;
    let role = stack.cluster.role(chat_events::Service::Notifications);
    let closed = until("the service's connections", async || {
        let stores = &stack.cluster.stores;
        let list = stores.rabbitmq_api(Method::GET, "connections", None).await;
        let list = list.expect("the connections");
        let mut closed = 0;
        for connection in list.as_array().into_iter().flatten() {
            if connection["user"] != role.as_str() {
                continue;
            }
            let name = connection["name"].as_str().unwrap_or_default();
            let name = name.replace(' ', "%20").replace('>', "%3E");
            let path = format!("connections/{name}");
            if stores
                .rabbitmq_api(Method::DELETE, &path, None)
                .await
                .is_ok()
            {
                closed += 1;
            }
        }
        (closed >= 2).then_some(closed)
    })
    .await;
    assert!(closed >= 2, "one publishes, one consumes");
    let sent = message(ConversationId::generate(), 1, &ann, "meanwhile");
    stack.publish(stored(&[&ann, &ben], &sent)).await;
    assert_eq!(socket.closed().await, 4009);
    stack.unread(&ben, 1).await;
    let (mut socket, hello) = stack.join(Some(&ben)).await;
    assert_eq!(hello["unread"], 1);
    let sent = message(ConversationId::generate(), 1, &ann, "again");
    stack.publish(stored(&[&ann, &ben], &sent)).await;
    assert_eq!(socket.until("notice").await.len(), 1);
}

#[tokio::test]
async fn a_stopping_pod_says_goodbye() {
    let mut stack = Stack::start().await;
    let ann = stack.person("ann").await;
    let mut sockets = Vec::new();
    for person in [Some(&ann), None, None] {
        sockets.push(stack.join(person).await.0);
    }
    until("the lease", async || {
        stack.is_online(&ann).await.then_some(())
    })
    .await;
    let pid = stack.child.id().expect("a running process").to_string();
    let kill = std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status();
    assert!(kill.expect("kill runs").success());
    for socket in &mut sockets {
        let frame = socket.next().await;
        assert_eq!(frame["type"], "going_away");
        assert!(
            frame["delay_ms"]
                .as_u64()
                .is_some_and(|delay| delay <= 5_000)
        );
        assert_eq!(socket.closed().await, 1001);
    }
    let status = timeout(Duration::from_secs(10), stack.child.wait()).await;
    assert!(status.expect("an end in time").expect("a status").success());
    assert!(!stack.is_online(&ann).await);
}

#[tokio::test]
async fn a_page_of_another_site_cannot_use_the_cookie_to_write() {
    let stack = Stack::start().await;
    let ann = stack.person("ann").await;
    let post = |origin: Option<&'static str>| {
        let url = format!("http://127.0.0.1:{}/api/notifications/read", stack.port);
        let request = stack
            .http
            .post(url)
            .header("cookie", format!("auth={}", ann.token))
            .json(&json!({ "all": true }));
        match origin {
            Some(origin) => request.header("origin", origin),
            None => request,
        }
    };
    for origin in [None, Some("http://evil.example")] {
        let answer = post(origin).send().await.expect("an answer");
        let problem = body(answer, StatusCode::FORBIDDEN).await;
        assert_eq!(problem["code"], "cross_site");
    }
    let answer = post(Some(ORIGIN)).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
}
