//! The same Redis, with as many values as a pod has leases.

use std::time::Instant;

use chat_e2e::load::usage::Parts;
use chat_local::Stores;

use super::{Floor, LENGTH};

const TOGETHER: usize = 32;
const KEYS: usize = 1_000;

pub async fn one(stores: &Stores) -> anyhow::Result<Floor> {
    set(stores, "redis-one", 1).await
}

pub async fn pipelines(stores: &Stores) -> anyhow::Result<Floor> {
    set(stores, "redis-pipe", TOGETHER).await
}

async fn set(stores: &Stores, name: &'static str, together: usize) -> anyhow::Result<Floor> {
    let mut redis = stores.handle().redis().await?;
    let value = "x".repeat(256);
    let parts = Parts::of_stores(stores).await?;
    let before = parts.read()?;
    let until = Instant::now() + LENGTH;
    let mut count = 0;
    while Instant::now() < until {
        let mut pipeline = redis::pipe();
        for _ in 0..together {
            let key = format!("floor:{}", count % KEYS);
            pipeline.set_ex(key, &value, 60).ignore();
            count += 1;
        }
        pipeline.exec_async(&mut redis).await?;
    }
    let spent = before.until(&parts.read()?);
    Ok(Floor::of_store(name, "command", &spent, count as f64))
}
