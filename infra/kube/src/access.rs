//! Where a control plane answers and how to get in: all that another process
//! needs to use it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use chat_local::write_private;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::audit::AuditLog;
use crate::certs::Authority;
use crate::kubeconfig;
use crate::tools::Tools;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Access {
    pub folder: PathBuf,
    pub url: String,
    pub tools: Tools,
}

impl Access {
    /// Reads what `ControlPlane::start` wrote.
    pub fn read(file: &Path) -> Result<Self> {
        let content =
            std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        serde_json::from_slice(&content).with_context(|| format!("{} is damaged", file.display()))
    }

    /// The file from which another process can read this.
    pub fn file(&self) -> PathBuf {
        self.folder.join("control-plane.json")
    }

    /// The administrator's kubeconfig: everything is allowed, whatever RBAC says.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// A new kubeconfig for a user of that name, with a certificate of its own.
    /// The user may do nothing until RBAC or the group allows it.
    pub fn kubeconfig_for(&self, user: &str, group: Option<&str>) -> Result<PathBuf> {
        let authority = self.authority()?;
        let identity = authority.client(user, group)?;
        let content = kubeconfig::with_certificate(&self.url, authority.certificate(), &identity);
        self.write_kubeconfig(&content)
    }

    /// A new kubeconfig with a token of a ServiceAccount, valid for an hour: what
    /// a Pod of that account would be.
    pub async fn kubeconfig_of_service_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &kube::api::PostParams::default(), &request)
            .await?;
        let token = answer.status.and_then(|status| status.token);
        let token = token.context("no token in the answer")?;
        let authority = self.authority()?;
        self.write_kubeconfig(&kubeconfig::with_token(
            &self.url,
            authority.certificate(),
            &token,
        ))
    }

    /// The settings of an administrator's client.
    pub async fn client_config(&self) -> Result<Config> {
        client_config(&self.kubeconfig()).await
    }

    pub async fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.client_config().await?)?)
    }

    /// A client that is the user of `kubeconfig_for`.
    pub async fn client_for(&self, user: &str, group: Option<&str>) -> Result<Client> {
        self.client_of(&self.kubeconfig_for(user, group)?).await
    }

    /// A client that is the user of a kubeconfig.
    pub async fn client_of(&self, kubeconfig: &Path) -> Result<Client> {
        Ok(Client::try_from(client_config(kubeconfig).await?)?)
    }

    /// What signs the certificates of this control plane.
    pub fn authority(&self) -> Result<Authority> {
        Authority::load(&self.folder.join("pki"))
    }

    pub fn audit(&self) -> AuditLog {
        AuditLog::new(self.folder.join("logs/audit.log"))
    }

    /// Runs kubectl as the administrator and returns what it printed; its error
    /// output becomes the error.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.run(&self.tools.kubectl, arguments, "").await
    }

    /// `kubectl apply` of a manifest, YAML or JSON.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        self.run(&self.tools.kubectl, &["apply", "-f", "-"], manifest)
            .await
    }

    /// Runs Helm as the administrator.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        self.run(&self.tools.helm, arguments, "").await
    }

    async fn run(&self, program: &Path, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = Command::new(program)
            .args(arguments)
            // Nothing of the user's own clusters, proxies and plugins; their
            // caches go with the folder.
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", &self.folder)
            .env("KUBECONFIG", self.kubeconfig())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} could not be started", program.display()))?;
        let mut stdin = child.stdin.take().context("it has an input")?;
        let feed = async move {
            // A program that reads nothing may have closed it.
            let _ = stdin.write_all(input.as_bytes()).await;
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        let output = output?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn write_kubeconfig(&self, content: &str) -> Result<PathBuf> {
        let name = format!("{}.kubeconfig", uuid::Uuid::new_v4().simple());
        let path = self.folder.join(name);
        write_private(&path, content)?;
        Ok(path)
    }
}

async fn client_config(kubeconfig: &Path) -> Result<Config> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // Loopback is never behind one.
    config.proxy_url = None;
    Ok(config)
}
