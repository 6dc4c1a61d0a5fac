//! A fresh namespace for a test, on a control plane that many tests share.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use chat_local::process::PidFile;
use chat_local::testing::temporary_folder;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::access::Access;
use crate::control_plane::{ControlPlane, Options};

/// Names the file of the control plane to share; `cargo xtask test` sets it.
pub const CONTROL_PLANE_VARIABLE: &str = "CHAT_TEST_CONTROL_PLANE";

/// The shared control plane: the one that `CHAT_TEST_CONTROL_PLANE` or a running
/// `cargo xtask kube` offers, else one that this process starts once.
///
/// # Panics
/// When none can be started: no test can go on then.
pub async fn control_plane() -> Access {
    match shared().await {
        Ok(access) => access,
        Err(error) => panic!("no control plane for the test: {error:#}"),
    }
}

/// A new namespace on the shared control plane, in which Pods may be made.
///
/// # Panics
/// When it cannot be made.
pub async fn namespace() -> TestNamespace {
    namespace_on(control_plane().await).await
}

/// The same on another cluster.
///
/// # Panics
/// When it cannot be made.
pub async fn namespace_on(access: Access) -> TestNamespace {
    match new_namespace(access).await {
        Ok(namespace) => namespace,
        Err(error) => panic!("no namespace for the test: {error:#}"),
    }
}

/// A control plane of the test's own, to stop and kill at will.
///
/// # Panics
/// When it cannot be started.
pub async fn own_control_plane(options: Options) -> OwnControlPlane {
    let started = async {
        let folder = temporary_folder()?;
        let plane = Some(ControlPlane::start(&folder, options).await?);
        anyhow::Ok(OwnControlPlane { plane, folder })
    };
    match started.await {
        Ok(plane) => plane,
        Err(error) => panic!("no control plane for the test: {error:#}"),
    }
}

/// A namespace with a random name. It is removed when it is dropped, with all
/// that is in it.
pub struct TestNamespace {
    pub access: Access,
    /// The administrator's.
    pub client: Client,
    pub name: String,
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        let (access, name) = (self.access.clone(), self.name.clone());
        // The test's own runtime may be ending and cannot be waited for here.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(remove_namespace(&access, &name))
        });
        match removal.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("a test's namespace was not removed: {error:#}"),
            Err(_) => tracing::warn!("a test's namespace was not removed"),
        }
    }
}

/// A control plane in a temporary folder that goes with it.
#[derive(Debug)]
pub struct OwnControlPlane {
    plane: Option<ControlPlane>,
    folder: PathBuf,
}

impl Deref for OwnControlPlane {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        // Taken only by `drop`.
        self.plane.as_ref().unwrap_or_else(|| unreachable!())
    }
}

impl Drop for OwnControlPlane {
    fn drop(&mut self) {
        drop(self.plane.take());
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Where `cargo xtask kube` keeps the control plane that tests share.
pub fn shared_control_plane_folder() -> PathBuf {
    chat_local::cache().join("test-control-plane")
}

async fn shared() -> Result<Access> {
    static OWN: OnceCell<ControlPlane> = OnceCell::const_new();
    if let Some(file) = std::env::var_os(CONTROL_PLANE_VARIABLE) {
        return Access::read(file.as_ref());
    }
    if let Some(access) = running() {
        return Ok(access);
    }
    let start = async || ControlPlane::start(&temporary_folder()?, Options::default()).await;
    Ok(OWN.get_or_try_init(start).await?.access())
}

fn running() -> Option<Access> {
    let folder = shared_control_plane_folder();
    let ready = PidFile::read(&folder.join("run/ready.pid"))?;
    let access = Access::read(&folder.join("control-plane.json")).ok()?;
    ready.is_alive().then_some(access)
}

async fn new_namespace(access: Access) -> Result<TestNamespace> {
    let client = access.client().await?;
    let random = uuid::Uuid::new_v4().simple().to_string();
    let namespace = TestNamespace {
        access,
        client: client.clone(),
        name: format!("test-{}", &random[..12]),
    };
    let object = Namespace {
        metadata: ObjectMeta {
            name: Some(namespace.name.clone()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &object).await?;
    // No Pod is admitted before its ServiceAccount is there.
    let accounts: Api<ServiceAccount> = Api::namespaced(client, &namespace.name);
    let deadline = Instant::now() + Duration::from_secs(60);
    while accounts.get_opt("default").await?.is_none() {
        if Instant::now() > deadline {
            bail!("{} got no ServiceAccount within 60 s", namespace.name);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(namespace)
}

async fn remove_namespace(access: &Access, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(access.client().await?);
    namespaces.delete(name, &DeleteParams::background()).await?;
    Ok(())
}
