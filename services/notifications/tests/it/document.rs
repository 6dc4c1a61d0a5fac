//! The OpenAPI document says what the service does.

use std::process::Command;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::harness::{Stack, json};

const COMMITTED: &str = include_str!("../../openapi.json");

#[test]
fn the_document_matches_the_committed_file() {
    let output = Command::new(env!("CARGO_BIN_EXE_notifications"))
        .arg("openapi")
        .output()
        .expect("the binary runs");
    let printed = String::from_utf8(output.stdout).expect("text");
    assert_eq!(printed, COMMITTED, "run `cargo xtask generate`");
}

#[test]
fn every_route_is_documented() {
    let router = include_str!("../../src/router.rs");
    assert!(
        !router.contains(".route("),
        "only `routes!` documents a route"
    );
    assert!(!router.contains(".nest") && !router.contains(".merge("));
}

#[tokio::test]
async fn every_documented_path_answers() {
    let stack = Stack::start().await;
    let document: Value = serde_json::from_str(COMMITTED).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    assert_eq!(paths.len(), 5);
    for (path, methods) in paths {
        let path = path.replace("{id}", "x").replace("{username}", "x");
        for method in methods.as_object().expect("methods").keys() {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let answer = stack.request(method.clone(), &path).send().await;
            let status = answer.expect("an answer").status();
            // Without a session, and without an upgrade.
            assert!(
                [StatusCode::UNAUTHORIZED, StatusCode::UPGRADE_REQUIRED].contains(&status),
                "{method} {path}: {status}"
            );
        }
    }
    let served = stack.request(Method::GET, "/api/notifications/openapi.json");
    let served = json(served.send().await.expect("an answer"), StatusCode::OK).await;
    assert_eq!(served, document);
    let page = stack.request(Method::GET, "/api/notifications/docs/");
    assert_eq!(
        page.send().await.expect("an answer").status(),
        StatusCode::OK
    );
}
