//! A fresh ChatCluster for a test, on stores that many tests share.

use std::io::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use chat_events::Service;
use tokio::sync::OnceCell;

use crate::process::PidFile;
use crate::provision::{Cluster, provision, provision_databases_of};
use crate::stores::{Stores, StoresHandle};

/// Names the file of the stores to share; `cargo xtask test` sets it.
pub const STORES_VARIABLE: &str = "CHAT_TEST_STORES";

/// A cluster with a random name. Its databases, vhost and users are removed
/// when it is dropped, at the end of the test.
#[derive(Debug)]
pub struct TestCluster {
    cluster: Cluster,
    remove: bool,
}

impl Deref for TestCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

/// A new cluster on the shared stores: those that `CHAT_TEST_STORES` or a
/// running `cargo xtask stores` offers, else a set that this process starts once.
///
/// # Panics
/// When the stores cannot be started: no test can go on then.
pub async fn cluster() -> TestCluster {
    let cluster = match new_cluster(&shared_stores().await).await {
        Ok(cluster) => cluster,
        Err(error) => panic!("no cluster for the test: {error:#}"),
    };
    TestCluster {
        cluster,
        remove: true,
    }
}

/// Stores of the test's own, to stop and kill at will, and a cluster in them.
///
/// # Panics
/// When the stores cannot be started.
pub async fn own_stores() -> (OwnStores, TestCluster) {
    let started = async {
        let stores = OwnStores::start_in(temporary_folder()?, None).await?;
        own_cluster(stores).await
    };
    match started.await {
        Ok(started) => started,
        Err(error) => panic!("no stores for the test: {error:#}"),
    }
}

/// The same, with a disk of so many MiB for `postgres` or `rabbitmq`, in memory. Needs
/// the right to mount.
///
/// # Panics
/// When the stores cannot be started.
pub async fn own_stores_on_small_disk(store: &str, mib: u32) -> (OwnStores, TestCluster) {
    let started = async {
        let folder = temporary_folder()?;
        let disk = SmallDisk::mount(folder.join(store), mib)?;
        let stores = OwnStores::start_in(folder, Some(disk)).await?;
        own_cluster(stores).await
    };
    match started.await {
        Ok(started) => started,
        Err(error) => panic!("no stores for the test: {error:#}"),
    }
}

async fn own_cluster(stores: OwnStores) -> anyhow::Result<(OwnStores, TestCluster)> {
    let cluster = new_cluster(&stores.handle()).await?;
    let remove = false;
    Ok((stores, TestCluster { cluster, remove }))
}

/// Stores in a temporary folder that goes with them.
#[derive(Debug)]
pub struct OwnStores {
    stores: Option<Stores>,
    folder: PathBuf,
    disk: Option<SmallDisk>,
}

impl OwnStores {
    async fn start_in(folder: PathBuf, disk: Option<SmallDisk>) -> anyhow::Result<Self> {
        let stores = Stores::start(&folder).await?;
        Ok(Self {
            stores: Some(stores),
            folder,
            disk,
        })
    }

    /// Takes all space that is left on the small disk, until what is returned is dropped.
    pub fn fill(&self) -> anyhow::Result<Ballast> {
        let disk = self.disk.as_ref().context("there is no small disk")?;
        let ballast = Ballast(disk.0.join("ballast"));
        let mut file = std::fs::File::create(&ballast.0)?;
        let piece = vec![0; 64 * 1024];
        // Ends with the first piece that does not fit.
        while file.write_all(&piece).is_ok() {}
        Ok(ballast)
    }
}

/// What fills a disk.
#[derive(Debug)]
pub struct Ballast(PathBuf);

impl Drop for Ballast {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!("the disk stays full: {error}");
        }
    }
}

/// Memory as a disk. Nothing may use it when it goes.
#[derive(Debug)]
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(place: PathBuf, mib: u32) -> anyhow::Result<Self> {
        crate::space::create(&place)?;
        let size = format!("size={mib}m,mode=0700");
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], &place)?;
        Ok(Self(place))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the last handle may be closed a moment later.
        if let Err(error) = run("umount", &["--lazy"], &self.0) {
            tracing::warn!("{error:#}");
        }
    }
}

fn run(program: &str, arguments: &[&str], place: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    let status = command.args(arguments).arg(place).status()?;
    anyhow::ensure!(
        status.success(),
        "{program} of {}: {status}",
        place.display()
    );
    Ok(())
}

impl OwnStores {
    /// The stores, without their removal at the end.
    pub fn into_inner(mut self) -> Stores {
        self.stores.take().unwrap_or_else(|| unreachable!())
    }
}

impl Deref for OwnStores {
    type Target = Stores;

    fn deref(&self) -> &Stores {
        // Taken only by `drop`.
        self.stores.as_ref().unwrap_or_else(|| unreachable!())
    }
}

impl Drop for OwnStores {
    fn drop(&mut self) {
        if let Some(stores) = self.stores.take() {
            drop(stores);
            drop(self.disk.take());
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if !self.remove {
            return;
        }
        let cluster = self.cluster.clone();
        // The test's own runtime may be ending and cannot be waited for here.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(cluster.remove())
        });
        match removal.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("a test's cluster was not removed: {error:#}"),
            Err(_) => tracing::warn!("a test's cluster was not removed"),
        }
    }
}

/// Where `cargo xtask stores` and `cargo xtask test` keep the stores that tests share.
pub fn shared_stores_folder() -> PathBuf {
    crate::space::cache().join("test-stores")
}

async fn new_cluster(stores: &StoresHandle) -> anyhow::Result<Cluster> {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("test-{}", &random[..12]);
    // Cargo says whose tests these are, and a service's own need no database but its own.
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let one = Service::ALL
        .into_iter()
        .find(|service| package == format!("chat-{}", service.name()));
    match one {
        Some(service) => provision_databases_of(&[service], stores, &name).await,
        None => provision(stores, &name).await,
    }
}

async fn shared_stores() -> StoresHandle {
    static OWN: OnceCell<Stores> = OnceCell::const_new();
    if let Some(file) = std::env::var_os(STORES_VARIABLE) {
        match StoresHandle::read(file.as_ref()) {
            Ok(handle) => return handle,
            Err(error) => panic!("{STORES_VARIABLE} is no use: {error:#}"),
        }
    }
    if let Some(handle) = running_stores() {
        return handle;
    }
    let started = OWN.get_or_try_init(async || Stores::start(&temporary_folder()?).await);
    match started.await {
        Ok(stores) => stores.handle(),
        Err(error) => panic!("no stores for the tests: {error:#}"),
    }
}

fn running_stores() -> Option<StoresHandle> {
    let folder = shared_stores_folder();
    let handle = StoresHandle::read(&folder.join("stores.json")).ok()?;
    let alive = |name: &str| {
        PidFile::read(&folder.join("run").join(format!("{name}.pid")))
            .is_some_and(|it| it.is_alive())
    };
    ["postgres", "redis", "rabbitmq", "ready"]
        .into_iter()
        .all(alive)
        .then_some(handle)
}

/// A folder for this process. Those of processes that ended without cleaning up
/// are removed on the way.
pub fn temporary_folder() -> anyhow::Result<PathBuf> {
    let all = std::env::temp_dir().join("chatcluster-tests");
    crate::space::create(&all)?;
    for entry in std::fs::read_dir(&all)?.flatten() {
        let owner = PidFile::read(&entry.path().join("owner.pid"));
        if owner.is_some_and(|owner| !owner.is_alive()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let folder = all.join(uuid::Uuid::new_v4().simple().to_string());
    crate::space::create(&folder)?;
    PidFile::of_this_process().write(&folder.join("owner.pid"))?;
    Ok(folder)
}
