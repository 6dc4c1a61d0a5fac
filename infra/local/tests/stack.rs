//! The services behind NGINX, each a process of its own.

use std::path::PathBuf;
use std::time::Duration;

use chat_events::Service;
use chat_local::stack::programs_beside_tests;
use chat_local::{Stack, StackOptions, testing};

#[tokio::test]
async fn every_service_answers_behind_nginx_and_a_dead_one_comes_back() -> anyhow::Result<()> {
    let cluster = testing::cluster().await;
    let stack = Stack::start(&cluster, options("answers")?).await?;
    for service in Service::ALL {
        let url = format!("{}/api/{}/openapi.json", stack.url(), service.name());
        let answer = reqwest::get(&url).await?;
        assert_eq!(answer.status(), 200, "{url}");
    }
    for path in ["/internal/revocations", "/api/nobody", "/api/authx"] {
        let answer = reqwest::get(format!("{}{path}", stack.url())).await?;
        assert_eq!(answer.status(), 404, "{path}");
    }

    let users = stack.pod(Service::Users, 0);
    let first = users.pid().await;
    users.crash().await?;
    until("the supervisor started it again", async || {
        users.pid().await != first && users.ready().await.is_ok()
    })
    .await;
    assert!(std::fs::read_to_string(users.log())?.contains("users ended (signal: 9"));

    users.kill().await?;
    let url = format!("{}/api/users", stack.url());
    until("NGINX says so", async || match reqwest::get(&url).await {
        Ok(answer) => answer.status() == 503,
        Err(_) => false,
    })
    .await;
    users.start().await?;
    until("NGINX found it again", async || {
        match reqwest::get(&url).await {
            Ok(answer) => answer.status() == 401,
            Err(_) => false,
        }
    })
    .await;

    stack.nginx().signal(nix::sys::signal::Signal::SIGHUP).await;
    until("NGINX reloaded", async || reqwest::get(&url).await.is_ok()).await;
    stack.stop().await
}

#[tokio::test]
async fn stacks_with_many_pods_run_side_by_side() -> anyhow::Result<()> {
    let (one, two) = (testing::cluster().await, testing::cluster().await);
    let replicated = StackOptions {
        replicas: 2,
        ..options("side-a")?
    };
    let (one, two) = tokio::try_join!(
        Stack::start(&one, replicated),
        Stack::start(&two, options("side-b")?)
    )?;
    assert_eq!(one.pods().len(), 10);
    assert_ne!(one.url(), two.url());
    for stack in [&one, &two] {
        let url = format!("{}/api/auth/jwks", stack.url());
        assert_eq!(reqwest::get(&url).await?.status(), 200);
    }
    one.stop().await?;
    two.stop().await
}

#[tokio::test]
async fn a_taken_port_is_one_sentence() -> anyhow::Result<()> {
    let cluster = testing::cluster().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    let options = StackOptions {
        port: Some(port),
        ..options("taken")?
    };
    let error = Stack::prepare(&cluster, options).expect_err("the port is taken");
    assert_eq!(
        error.to_string(),
        format!(
            "Port {port} is in use by another program: stop that one, or choose another with --port."
        )
    );
    Ok(())
}

fn options(name: &str) -> anyhow::Result<StackOptions> {
    let folder: PathBuf = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    Ok(StackOptions::new(folder, programs_beside_tests()?))
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within 30 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
