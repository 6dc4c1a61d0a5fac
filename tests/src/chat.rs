//! A running chat: the services behind NGINX, on real stores, started for a test.

mod backstage;
mod dump;
mod start;
mod tokens;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use chat_events::{ConversationId, Service};
use chat_local::Cluster;
use chat_local::daemon::Daemon;
use chat_local::stack::{Pod, Stack};
use chat_local::testing::TestCluster;

use crate::{Backstage, Person, Site, await_until};
use start::Folder;

const SOON: Duration = Duration::from_secs(10);

pub struct Chat {
    /// NGINX.
    pub site: Site,
    // Dropped in this order: processes, databases, logs.
    stack: Stack,
    cluster: TestCluster,
    /// Where the binaries of the services are.
    programs: PathBuf,
    #[expect(dead_code, reason = "removed when it is dropped")]
    folder: Folder,
}

impl Chat {
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// One process of a service.
    pub fn pod(&self, service: Service, number: usize) -> &Pod {
        self.stack.pod(service, number)
    }

    pub fn pods(&self) -> &[Pod] {
        self.stack.pods()
    }

    pub fn nginx(&self) -> &Daemon {
        self.stack.nginx()
    }

    /// The way to one pod, past NGINX.
    pub fn door(&self, service: Service, number: usize) -> Site {
        self.site.through(&self.pod(service, number).place().url())
    }

    pub async fn metrics(&self, service: Service, number: usize) -> anyhow::Result<String> {
        Ok(self.admin(service, number, "metrics").await?.text().await?)
    }

    pub async fn is_ready(&self, service: Service, number: usize) -> anyhow::Result<bool> {
        let answer = self.admin(service, number, "readyz").await?;
        Ok(answer.status().is_success())
    }

    /// Whether Kubernetes would send it requests.
    pub async fn takes_requests(&self, service: Service, number: usize) -> anyhow::Result<bool> {
        let answer = self.admin(service, number, "readyz/requests").await?;
        Ok(answer.status().is_success())
    }

    pub async fn is_alive(&self, service: Service, number: usize) -> anyhow::Result<bool> {
        let answer = self.admin(service, number, "livez").await?;
        Ok(answer.status().is_success())
    }

    /// The value of one metric, 0 before its first change.
    pub async fn metric(&self, service: Service, number: usize, name: &str) -> anyhow::Result<f64> {
        let metrics = self.metrics(service, number).await?;
        let value = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        Ok(value.unwrap_or_default())
    }

    async fn admin(
        &self,
        service: Service,
        number: usize,
        path: &str,
    ) -> anyhow::Result<reqwest::Response> {
        let admin = self.pod(service, number).place().admin_url();
        Ok(reqwest::get(format!("{admin}/{path}")).await?)
    }

    /// All that one pod has logged.
    pub async fn log(&self, service: Service, number: usize) -> anyhow::Result<String> {
        let log = self.pod(service, number).log();
        Ok(tokio::fs::read_to_string(log).await?)
    }

    /// What was generated for this chat and must stay secret.
    pub fn secrets(&self) -> Vec<String> {
        Service::ALL
            .into_iter()
            .flat_map(|service| self.cluster.env(service))
            .filter(|(name, _)| name == "JWT_KEY" || name.ends_with("PASSWORD"))
            .map(|(_, value)| value)
            .collect()
    }

    /// Two people who have a conversation with each other.
    pub async fn two_people(&self) -> anyhow::Result<(Person, Person, ConversationId)> {
        let (ada, ben) = tokio::try_join!(
            Person::sign_up(&self.site, "ada"),
            Person::sign_up(&self.site, "ben")
        )?;
        // messages hears of new accounts by an event.
        let conversation = await_until("the conversation", SOON, async || {
            ada.conversation_with(&ben).await.map(Some)
        })
        .await?;
        Ok((ada, ben, conversation))
    }

    /// Two people whom every service knows, without a conversation.
    pub async fn two_strangers(&self) -> anyhow::Result<[Person; 2]> {
        let (ada, ben) = tokio::try_join!(
            Person::sign_up(&self.site, "ada"),
            Person::sign_up(&self.site, "ben")
        )?;
        for service in [Service::Messages, Service::Users] {
            await_until("both known everywhere", SOON, async || {
                let known = self.dump(service).await?;
                let both = known.contains(&ada.username) && known.contains(&ben.username);
                Ok(both.then_some(()))
            })
            .await?;
        }
        Ok([ada, ben])
    }

    /// Redis forgets everything of this ChatCluster.
    pub async fn wipe_redis(&self) -> anyhow::Result<()> {
        let mut redis = self.redis().await?;
        let keys = self.redis_keys("").await?;
        ensure!(!keys.is_empty(), "there was nothing to wipe");
        redis::cmd("DEL").arg(keys).exec_async(&mut redis).await?;
        Ok(())
    }
}
