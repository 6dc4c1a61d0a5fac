//! The stores of a chat on this machine.

use anyhow::{Context, ensure};
use chat_events::Service;
use redis::aio::MultiplexedConnection;
use sqlx::{Connection, PgConnection};
use tokio::process::Command;

use super::Chat;
use crate::Backstage;

impl Backstage for Chat {
    fn name(&self) -> &str {
        &self.cluster.name
    }

    async fn database(&self, service: Service) -> anyhow::Result<PgConnection> {
        let options = self.cluster.stores.postgres(&self.cluster.role(service));
        PgConnection::connect_with(&options)
            .await
            .with_context(|| format!("the database of {}", service.name()))
    }

    async fn redis(&self) -> anyhow::Result<MultiplexedConnection> {
        self.cluster.stores.redis().await
    }

    async fn command(&self, service: Service, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(self.programs.join(service.name()))
            .args(arguments)
            .envs(self.cluster.env(service))
            .output()
            .await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {errors}", service.name());
        Ok(String::from_utf8(output.stdout)?)
    }
}
