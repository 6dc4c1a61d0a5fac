//! What a chat keeps, read past its services.

use std::collections::BTreeSet;
use std::future::Future;

use chat_events::Service;
use redis::aio::MultiplexedConnection;
use sqlx::PgConnection;

/// The stores of a chat, wherever it runs.
pub trait Backstage: Sync {
    /// As the chat's keys in Redis begin.
    fn name(&self) -> &str;

    /// A connection of the administrator to the service's database.
    fn database(
        &self,
        service: Service,
    ) -> impl Future<Output = anyhow::Result<PgConnection>> + Send;

    /// The same to Redis.
    fn redis(&self) -> impl Future<Output = anyhow::Result<MultiplexedConnection>> + Send;

    /// What `<service> <arguments>` prints, with the settings of the service.
    fn command(
        &self,
        service: Service,
        arguments: &[&str],
    ) -> impl Future<Output = anyhow::Result<String>> + Send;

    /// The keys in Redis of this chat that start with `prefix`.
    fn redis_keys(
        &self,
        prefix: &str,
    ) -> impl Future<Output = anyhow::Result<BTreeSet<String>>> + Send {
        async move {
            let keys = redis::cmd("KEYS")
                .arg(format!("{}:{prefix}*", self.name()))
                .query_async(&mut self.redis().await?)
                .await?;
            Ok(keys)
        }
    }
}
