//! Row 86: after a write the next read is never stale, on any replica.

use reqwest::StatusCode;

use crate::harness::{Stack, json, until};

#[tokio::test]
async fn after_a_write_the_next_read_is_never_stale_on_two_replicas() {
    let stack = Stack::start().await;
    let second = stack.another().await;
    let ada = stack.person("ada").await;
    for round in 0..30 {
        let name = format!("Ada {round}");
        // Both replicas have the old page cached …
        for replica in [&stack.replica, &second] {
            stack.list_from(replica, &ada, "q=ada").await;
        }
        json(stack.rename(&ada, &name).await, StatusCode::OK).await;
        // … and neither shows it.
        for replica in [&second, &stack.replica] {
            let page = stack.list_from(replica, &ada, "q=ada").await;
            assert_eq!(page["users"][0]["display_name"], name);
        }
    }
}

#[tokio::test]
async fn the_same_page_comes_from_redis_until_something_changes() {
    let stack = Stack::start().await;
    let ada = stack.person("ada").await;
    let hits = async || {
        let metrics = stack.metrics().await;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("chat_cache_total{result=\"hit\"}"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let first = stack.list(&ada, "sort=status").await;
    until("a hit", async || {
        let before = hits().await;
        assert_eq!(stack.list(&ada, "sort=status").await, first);
        (hits().await > before).then_some(())
    })
    .await;
    let before = hits().await;
    json(stack.rename(&ada, "Ada L.").await, StatusCode::OK).await;
    let page = stack.list(&ada, "sort=status").await;
    assert_eq!(page["users"][0]["display_name"], "Ada L.");
    assert_eq!(hits().await, before);
}
