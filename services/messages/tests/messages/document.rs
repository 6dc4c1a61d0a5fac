//! The OpenAPI document and the table of settings.

use chat_events::ConversationId;
use reqwest::Method;
use serde_json::Value;

use crate::stage::Stage;

fn run(argument: &str) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_messages"))
        .arg(argument)
        .env_clear()
        .output()
        .expect("the binary runs");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_document_matches_the_committed_file() {
    let committed = include_str!("../../openapi.json");
    assert_eq!(run("openapi"), committed, "run `cargo xtask generate`");
}

#[test]
fn every_setting_is_in_the_table() {
    let table = run("config");
    for name in [
        "PORT",
        "ADMIN_PORT",
        "DB_NAME",
        "RMQ_PASSWORD",
        "REDIS_HOST",
        "AUTH_URL",
        "POD_NAME",
    ] {
        assert!(table.contains(&format!("`{name}`")), "{name}: {table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_path_is_routed_and_served_with_its_document() {
    let (stage, replica) = Stage::with_replica().await;
    let anna = stage.person("anna").await;
    let served = stage
        .get(&replica, &anna, "/api/messages/openapi.json")
        .await
        .assert(200);
    let committed: Value = serde_json::from_str(include_str!("../../openapi.json")).expect("JSON");
    assert_eq!(served, committed);
    stage
        .get(&replica, &anna, "/api/messages/docs/")
        .await
        .assert(200);
    let paths = committed["paths"].as_object().expect("paths");
    assert_eq!(paths.len(), 5);
    for (path, methods) in paths {
        let concrete = path.replace("{id}", &ConversationId::generate().to_string());
        for (method, operation) in methods.as_object().expect("methods") {
            let method: Method = method.to_uppercase().parse().expect("a method");
            // Without a session, a route says 401 and the fallback says 404.
            stage
                .ask(&replica, method, &concrete, |request| {
                    request.header("origin", crate::stage::ORIGIN)
                })
                .await
                .assert_problem(401, "unauthenticated");
            assert!(operation["responses"]["401"].is_object(), "{path}");
        }
    }
}
