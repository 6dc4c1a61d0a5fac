//! The OpenAPI document and the other things that the binary prints.

use std::process::Command;

use serde_json::Value;

use crate::world::World;

fn print(subcommand: &str) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_socket-handler"))
        .arg(subcommand)
        .output()?;
    anyhow::ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn the_document_matches_the_committed_file() -> anyhow::Result<()> {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    assert!(
        print("openapi")? == std::fs::read_to_string(committed)?,
        "write it anew: cargo xtask generate"
    );
    Ok(())
}

#[test]
fn every_setting_is_in_the_table() -> anyhow::Result<()> {
    let table = print("config")?;
    for name in [
        "PORT",
        "RMQ_HOST",
        "REDIS_HOST",
        "AUTH_URL",
        "MESSAGES_URL",
        "USERS_URL",
    ] {
        assert!(table.contains(&format!("| `{name}` |")), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn every_documented_path_answers_and_the_document_is_served() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let client = reqwest::Client::new();
    let served: Value = client
        .get(format!("{}/api/socket-handler/openapi.json", pod.url))
        .send()
        .await?
        .json()
        .await?;
    let printed: Value = serde_json::from_str(&print("openapi")?)?;
    assert_eq!(served["paths"], printed["paths"]);
    let paths = printed["paths"].as_object().into_iter().flatten();
    let mut count = 0;
    for (path, operations) in paths {
        for method in operations
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
        {
            let url = format!("{}{}", pod.url, path.replace("{id}", "x"));
            let method = method.to_uppercase().parse()?;
            let answer = client
                .request(method, url)
                .header("origin", crate::world::ORIGIN)
                .send()
                .await?;
            assert_eq!(answer.status(), 401, "{path} asks who is there");
            count += 1;
        }
    }
    assert_eq!(count, 4, "every route is documented");
    let page = client
        .get(format!("{}/api/socket-handler/docs/", pod.url))
        .send()
        .await?;
    assert_eq!(page.status(), 200);
    Ok(())
}
