//! From a manifest to people who chat, and what kubectl shows on the way.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chat_e2e::{Browser, ChatClient, ChatSocket, NoticeSocket};
use chat_events::{close, limits};
use kube::ResourceExt;
use serde_json::json;
use tokio::process::Command;

use super::harness::{ClusterChat, PATIENCE, in_cluster};

/// After the end of the token, for the way back.
const SPARE: Duration = Duration::from_secs(15);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_smallest_manifest_becomes_a_chat_in_which_two_browsers_talk() -> Result<()> {
    in_cluster(async |cluster| {
        let chat = ClusterChat::prepare(cluster, "chat").await?;
        let manifest = repository().join("crds/examples/minimal.yaml");
        let manifest = manifest.to_str().context("a path that is text")?;
        let applied = Instant::now();
        chat.kubectl(&["apply", "-f", manifest]).await?;
        let wait = format!("--timeout={}s", PATIENCE.as_secs());
        let waited = chat
            .kubectl(&["wait", "--for=condition=Ready", "chat/demo", &wait])
            .await;
        if let Err(error) = waited {
            return Err(error.context(chat.describe().await));
        }
        eprintln!("apply → Ready: {:.1} s", applied.elapsed().as_secs_f64());
        let (ada, ben, conversation) = chat.two_people().await?;
        let mut a = ChatSocket::open(&ada).await?;
        let mut b = ChatSocket::open(&ben).await?;
        let sent = a.say(conversation, "from Pod to Pod").await?;
        b.await_stored(sent).await?;
        eprintln!(
            "apply → first message: {:.1} s",
            applied.elapsed().as_secs_f64()
        );
        shows_what_the_docs_say(&chat).await?;
        browsers(
            "http://chat.localhost",
            "two people sign up, find each other",
        )
        .await?;
        chat.remove().await
    })
}

async fn shows_what_the_docs_say(chat: &ClusterChat) -> Result<()> {
    let shown = chat.kubectl(&["get", "chat"]).await?;
    eprintln!("{shown}");
    let columns: Vec<_> = shown.split_whitespace().collect();
    let head = [
        "NAME", "READY", "REASON", "SERVICES", "VERSION", "URL", "AGE",
    ];
    ensure!(columns[..7] == head, "{shown}");
    let row = ["demo", "True", "Ready", "6/6", env!("CARGO_PKG_VERSION")];
    ensure!(columns[7..12] == row, "{shown}");
    ensure!(columns[12] == chat.site.url, "{shown}");
    let described = chat.kubectl(&["describe", "chat", "demo"]).await?;
    for word in ["Ready", "Conditions", "Components", "Events"] {
        ensure!(described.contains(word), "no {word} in {described}");
    }
    let explained = chat.kubectl(&["explain", "chat.spec.host"]).await?;
    ensure!(explained.contains("browsers open the chat"), "{explained}");
    chat.kubectl(&["scale", "chat/demo", "--replicas=2"])
        .await?;
    chat.await_ready().await?;
    let pods = chat.pods().await?;
    let gateways = pods
        .iter()
        .filter(|pod| pod.name_any().starts_with("demo-socket-handler"));
    ensure!(gateways.count() == 2);
    Ok(())
}

/// A member's socket lives no longer than the token that opened it; a guest has none.
#[test]
fn long_sockets_without_a_word_are_closed_by_the_end_of_their_token_alone() -> Result<()> {
    in_cluster(async |cluster| {
        let chat = ClusterChat::start(cluster, "idle", json!({})).await?;
        let (ada, ben, conversation) = chat.two_people().await?;
        let clients = [&ada, &ben].map(ChatClient::start);
        for client in &clients {
            client.await_connected().await?;
        }
        let mut guest = NoticeSocket::join(&Browser::new(&chat.site)?).await?;
        // What is tested is that nothing happens meanwhile.
        guest.collect(limits::ACCESS_TOKEN + SPARE).await?;
        for client in &clients {
            let state = client.state();
            let ends: Vec<_> = state.gaps.iter().map(|gap| gap.code).collect();
            ensure!(ends == [Some(close::EXPIRED)], "{:?}", state.gaps);
            ensure!(state.connected, "{:?}", state.gaps);
        }
        clients[0].send(conversation, "still here");
        clients[1].await_texts(conversation, 1, PATIENCE).await?;
        chat.remove().await
    })
}

#[test]
fn long_with_a_certificate_browsers_talk_by_tls_and_are_sent_there() -> Result<()> {
    in_cluster(async |cluster| {
        let chat = ClusterChat::prepare(cluster, "tls").await?;
        let pki = std::env::temp_dir().join(format!("tls-{}", std::process::id()));
        std::fs::create_dir_all(&pki)?;
        let certificate = chat.cluster.authority()?.server("ag.dev", &["ag.dev"])?;
        certificate.save(&pki, "tls")?;
        let path = |name: &str| pki.join(name).display().to_string();
        let (cert, key) = (path("tls.crt"), path("tls.key"));
        let files = [format!("--cert={cert}"), format!("--key={key}")];
        let make = ["create", "secret", "tls", "ag-dev", &files[0], &files[1]];
        chat.kubectl(&make).await?;
        std::fs::remove_dir_all(&pki)?;
        let tls = json!({"mode": "Secret", "secretName": "ag-dev"});
        let chat = chat.named("ag.dev");
        chat.apply(json!({"exposure": {"tls": tls}})).await?;
        chat.await_ready().await?;
        let answer = Browser::new(&chat.site)?.get("/").await?;
        ensure!(answer.status == 301, "{answer}");
        ensure!(answer.header("location") == "https://ag.dev/", "{answer}");
        browsers("https://ag.dev", "two people sign up, find each other").await?;
        chat.remove().await
    })
}

/// Runs the browser tests of this name against a site, in the network in which this test
/// is.
async fn browsers(url: &str, name: &str) -> Result<()> {
    let output = Command::new("node")
        .args(["--test", "--test-name-pattern", name, "browser_chat.mjs"])
        .current_dir(repository().join("tests/browser"))
        .env("CHAT_URL", url)
        .stdin(Stdio::null())
        .output()
        .await
        .context("node could not be started")?;
    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{told}");
    ensure!(told.contains("pass 1"), "{told}");
    Ok(())
}
