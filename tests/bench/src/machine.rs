//! On what, with which settings and with which code a run was made.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::Context;
use chat_e2e::load::usage;
use chat_local::Stores;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub processors: u32,
    pub model: String,
    pub memory_gib: u64,
    pub kernel: String,
}

impl Machine {
    pub fn this() -> anyhow::Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown", |(_, model)| model);
        let kib: u64 = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next())
            .context("no MemTotal")?
            .parse()?;
        Ok(Self {
            processors: usage::processors() as u32,
            model: model.to_owned(),
            memory_gib: kib.div_ceil(1024 * 1024),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
        })
    }
}

/// The commit of the checkout, with `+` when something in it differs.
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    if changed.is_none_or(|changed| !changed.is_empty()) {
        format!("{commit}+")
    } else {
        commit
    }
}

/// What makes a write safe, as the servers say it themselves.
pub async fn durable_settings(stores: &Stores) -> anyhow::Result<BTreeMap<String, String>> {
    let mut settings = BTreeMap::new();
    let mut database = PgConnection::connect_with(&stores.handle().postgres("postgres")).await?;
    for name in [
        "fsync",
        "synchronous_commit",
        "full_page_writes",
        "server_version",
    ] {
        let value: String = sqlx::query_scalar("select current_setting($1)")
            .bind(name)
            .fetch_one(&mut database)
            .await?;
        settings.insert(format!("PostgreSQL {name}"), value);
    }
    let overview = stores
        .handle()
        .rabbitmq_api(reqwest::Method::GET, "overview", None)
        .await?;
    let version = overview["rabbitmq_version"].as_str().unwrap_or("unknown");
    settings.insert("RabbitMQ".into(), version.to_owned());
    let queues = "quorum queues, persistent, mandatory, confirmed, acknowledged by hand";
    settings.insert("RabbitMQ queues".into(), queues.into());
    Ok(settings)
}
