use serde_json::Value;
use tokio::process::Command;

use crate::browser::Browser;
use crate::server::Auth;

async fn printed() -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_auth"))
        .arg("openapi")
        .output()
        .await?;
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn the_document_matches_the_committed_file() -> anyhow::Result<()> {
    // After a change of routes or types: cargo xtask generate
    assert_eq!(printed().await?, include_str!("../../openapi.json"));
    Ok(())
}

#[test]
fn every_route_is_documented() {
    // `routes!` is the one way to add a route, and it documents what it adds.
    let source = include_str!("../../src/router.rs");
    assert_eq!(source.matches(".routes(routes!(").count(), 8);
    for other in [".route(", ".nest", ".merge", ".fallback", ".route_service("] {
        assert!(!source.contains(other), "{other}");
    }
}

#[tokio::test]
async fn every_documented_path_answers_and_the_document_is_served() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    let mut browser = Browser::new(&auth);
    let document: Value = serde_json::from_str(&printed().await?)?;
    let mut count = 0;
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let method = method.to_uppercase().parse()?;
            let answer = browser.send(browser.request(method, path)).await?;
            let documented = operation["responses"].get(answer.status.to_string());
            assert!(documented.is_some(), "{path} answers {}", answer.status);
            count += 1;
        }
    }
    assert_eq!(count, 8);
    let served = browser.get("/api/auth/openapi.json").await?.expect(200)?;
    assert_eq!(served.body["paths"], document["paths"]);
    browser.get("/api/auth/docs/").await?.expect(200)?;
    Ok(())
}
