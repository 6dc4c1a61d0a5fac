//! Starting and stopping it all.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use anyhow::{Context, ensure};
use chat_local::stack::{Stack, StackOptions, programs_beside_tests};
use chat_local::testing::{OwnStores, TestCluster, cluster, own_stores};
use tokio::sync::Mutex;

use super::Chat;
use crate::Site;

/// Set it to look at the logs of a test afterwards.
const KEEP_VARIABLE: &str = "CHAT_TEST_KEEP";

impl Chat {
    /// One that the tests of this process share; stopped when none needs it.
    /// Of use to tests that leave every server alone.
    pub async fn shared() -> anyhow::Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Chat>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(chat) = shared.upgrade() {
            return Ok(chat);
        }
        let chat = Arc::new(Self::alone().await?);
        *shared = Arc::downgrade(&chat);
        Ok(chat)
    }

    /// One for a test that stops services.
    pub async fn alone() -> anyhow::Result<Self> {
        Self::start(cluster().await, |_| {}).await
    }

    /// One with other settings.
    pub async fn with(change: impl FnOnce(&mut StackOptions)) -> anyhow::Result<Self> {
        Self::start(cluster().await, change).await
    }

    /// One with so many pods of every service.
    pub async fn replicas(count: usize) -> anyhow::Result<Self> {
        Self::start(cluster().await, |options| options.replicas = count).await
    }

    /// One that logs everything.
    pub async fn talkative() -> anyhow::Result<Self> {
        Self::start(cluster().await, |options| {
            options.env.push(("LOG".into(), "debug".into()));
        })
        .await
    }

    /// One that sends its traces to an OTLP endpoint.
    pub async fn exporting(endpoint: String) -> anyhow::Result<Self> {
        Self::start(cluster().await, |options| {
            options.env.push(("OTLP_ENDPOINT".into(), endpoint));
        })
        .await
    }

    /// One whose public address is an https origin: TLS ends in front of NGINX.
    pub async fn behind_tls() -> anyhow::Result<Self> {
        const ORIGIN: &str = "https://chat.example.org";
        let mut chat = Self::start(cluster().await, |options| {
            options.env.push(("PUBLIC_ORIGINS".into(), ORIGIN.into()));
        })
        .await?;
        chat.site.origin = ORIGIN.to_owned();
        Ok(chat)
    }

    /// One whose stores may be stopped as well.
    pub async fn own() -> anyhow::Result<(Self, OwnStores)> {
        Self::own_with(|_| {}).await
    }

    /// The same, with other settings: more pods, other binaries.
    pub async fn own_with(
        change: impl FnOnce(&mut StackOptions),
    ) -> anyhow::Result<(Self, OwnStores)> {
        let (stores, cluster) = own_stores().await;
        Ok((Self::start(cluster, change).await?, stores))
    }

    /// One with the built client, for browsers.
    pub async fn with_client() -> anyhow::Result<Self> {
        let client = PathBuf::from(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../services/client/dist"
        ));
        ensure!(
            client.join("index.html").is_file(),
            "the client is not built: npm run build in services/client"
        );
        Self::start(cluster().await, |options| options.client = Some(client)).await
    }

    /// One on these stores, with other settings.
    pub async fn start(
        cluster: TestCluster,
        change: impl FnOnce(&mut StackOptions),
    ) -> anyhow::Result<Self> {
        let folder = Folder(std::env::temp_dir().join("chat-e2e").join(&cluster.name));
        let mut options = StackOptions::new(&folder.0, programs_beside_tests()?);
        change(&mut options);
        let programs = options.programs.clone();
        let stack = Stack::start(&cluster, options).await?;
        // Browsers in the tests have IPv4 addresses of their own.
        let url = stack.url().replace("localhost", "127.0.0.1");
        Ok(Self {
            site: Site::new(&url),
            stack,
            cluster,
            programs,
            folder,
        })
    }

    /// Stops the services in order; dropping kills them.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stack.stop().await.context("stopping the chat")
    }
}

/// Logs and configuration, removed at the end.
pub(super) struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if std::env::var_os(KEEP_VARIABLE).is_none() {
            // What cannot be removed is in the folder for temporary files.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
