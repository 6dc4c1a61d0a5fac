//! Stores that run elsewhere: real ones on the machine of the node, which Pods reach by
//! its address.

use anyhow::{Result, ensure};
use chat_cluster::Cluster;
use chat_e2e::await_until;
use chat_e2e::proxy::{Faults, Proxy};
use chat_local::ADMIN;
use chat_local::testing::{OwnStores, own_stores};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::harness::{ClusterChat, PATIENCE, condition, in_cluster};

const DATABASES: [&str; 4] = ["auth", "users", "messages", "notifications"];

struct Outside {
    stores: OwnStores,
    postgres: Proxy,
    rabbitmq: Proxy,
    redis: Proxy,
}

impl Outside {
    /// With all that docs/how-to/external-stores.md asks for.
    async fn start(cluster: &Cluster) -> Result<Self> {
        let (stores, _) = own_stores().await;
        let handle = stores.handle();
        let mut admin = PgConnection::connect_with(&handle.postgres("postgres")).await?;
        for database in DATABASES {
            let create = AssertSqlSafe(format!("create database demo_{database}"));
            sqlx::query(create).execute(&mut admin).await?;
        }
        handle
            .rabbitmq_api(Method::PUT, "vhosts/chat", None)
            .await?;
        let door = async |port| Proxy::start_at(cluster.address, port).await;
        Ok(Self {
            postgres: door(handle.postgres_port).await?,
            rabbitmq: door(handle.rabbitmq_port).await?,
            redis: door(handle.redis_port).await?,
            stores,
        })
    }

    /// The Secrets of the chat, and the spec that names them.
    async fn announce(&self, chat: &ClusterChat) -> Result<Value> {
        let host = chat.cluster.address;
        let port = |proxy: &Proxy| proxy.port().to_string();
        let password = self.stores.handle().password;
        let secrets = [
            (
                "db",
                json!({"host": host, "port": port(&self.postgres), "username": ADMIN}),
            ),
            (
                "broker",
                json!({"host": host, "port": port(&self.rabbitmq), "username": ADMIN, "vhost": "chat"}),
            ),
            (
                "cache",
                json!({"host": format!("{host}:{}", self.redis.port()), "username": "default"}),
            ),
        ];
        for (name, mut data) in secrets {
            data["password"] = json!(password);
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": name, "namespace": chat.namespace},
                "stringData": data,
            });
            chat.cluster.apply(&secret.to_string()).await?;
        }
        let external =
            |name| json!({"mode": "External", "external": {"secretRef": {"name": name}}});
        Ok(json!({
            "postgres": external("db"), "rabbitmq": external("broker"), "redis": external("cache"),
        }))
    }
}

#[test]
fn long_people_chat_by_stores_outside_of_the_cluster_and_are_told_when_one_is_away() -> Result<()> {
    in_cluster(async |cluster| {
        let outside = Outside::start(&cluster).await?;
        let chat = ClusterChat::prepare(cluster, "outside").await?;
        let spec = outside.announce(&chat).await?;
        chat.apply(spec).await?;
        chat.await_ready().await?;
        let (ada, _, conversation) = chat.two_people().await?;
        chat.say(&ada, conversation, "kept elsewhere").await?;

        outside.postgres.set(Faults::refuse());
        outside.postgres.reset();
        await_until("the chat is not ready", PATIENCE, async || {
            let chat = chat.seen().await?;
            Ok((condition(&chat, "Ready")["status"] == "False").then_some(()))
        })
        .await?;
        outside.postgres.heal();
        chat.await_ready().await?;

        chat.say(&ada, conversation, "and again").await?;
        let texts = ada.texts(conversation).await?;
        ensure!(texts == ["kept elsewhere", "and again"], "{texts:?}");
        chat.remove().await
    })
}
