//! The programs of Kubernetes: those of `KUBEBUILDER_ASSETS`, else those on PATH
//! whose version suits, else built once into the cache from the pinned modules
//! in `tools/`.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// Where the programs are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    pub etcd: PathBuf,
    pub kube_apiserver: PathBuf,
    pub kube_controller_manager: PathBuf,
    pub kube_scheduler: PathBuf,
    pub kubectl: PathBuf,
    pub helm: PathBuf,
}

/// Where the programs are that run Pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTools {
    pub kubelet: PathBuf,
    pub kube_proxy: PathBuf,
    /// Static, as is the next: each is all that there is in its image.
    pub coredns: PathBuf,
    pub pause: PathBuf,
}

/// Finds every program, and builds those that are nowhere: ten minutes on two
/// cores, once. Says on the error output what it is doing. Processes that ask at
/// the same time wait for one build.
pub async fn tools() -> Result<Tools> {
    let [
        etcd,
        kube_apiserver,
        kube_controller_manager,
        kube_scheduler,
        kubectl,
        helm,
    ] = find_or_build(&ALL).await?;
    Ok(Tools {
        etcd,
        kube_apiserver,
        kube_controller_manager,
        kube_scheduler,
        kubectl,
        helm,
    })
}

/// What a node needs besides, found or built as by [`tools`]: three minutes more.
pub async fn node_tools() -> Result<NodeTools> {
    let [kubelet, kube_proxy, coredns, pause] = find_or_build(&OF_A_NODE).await?;
    Ok(NodeTools {
        kubelet,
        kube_proxy,
        coredns,
        pause,
    })
}

/// Helm alone, found or built as by [`tools`].
pub async fn helm() -> Result<PathBuf> {
    let [.., helm] = &ALL;
    if helm.find().await?.is_none() {
        helm.build(1, 1).await?;
    }
    helm.need().await
}

async fn find_or_build<const N: usize>(tools: &[Tool; N]) -> Result<[PathBuf; N]> {
    let mut missing = Vec::new();
    for tool in tools {
        if tool.find().await?.is_none() {
            missing.push(tool);
        }
    }
    for (index, tool) in missing.iter().enumerate() {
        tool.build(index + 1, missing.len()).await?;
    }
    let mut found = [const { PathBuf::new() }; N];
    for (path, tool) in found.iter_mut().zip(tools) {
        *path = tool.need().await?;
    }
    Ok(found)
}

const ALL: [Tool; 6] = [
    Tool {
        name: "etcd",
        package: "go.etcd.io/etcd/server/v3",
        module: &ETCD,
        ask_version: &["--version"],
        suits: |found, _| found >= [3, 4, 0],
    },
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    kubernetes(
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ),
    kubernetes("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    Tool {
        name: "kubectl",
        package: "k8s.io/kubernetes/cmd/kubectl",
        module: &KUBERNETES,
        ask_version: &["version", "--client"],
        // One minor version away is what kubectl promises to work with.
        suits: |found, pinned| found[0] == pinned[0] && found[1].abs_diff(pinned[1]) <= 1,
    },
    Tool {
        name: "helm",
        package: "helm.sh/helm/v4/cmd/helm",
        module: &HELM,
        ask_version: &["version", "--short"],
        suits: |found, pinned| found[0] == pinned[0] && found >= pinned,
    },
];

const OF_A_NODE: [Tool; 4] = [
    kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    Tool {
        name: "coredns",
        package: "github.com/coredns/coredns",
        module: &NODE,
        ask_version: &["-version"],
        // It may be linked to libraries that its image does not have.
        suits: |_, _| false,
    },
    Tool {
        name: "chat-pause",
        package: "./pause",
        module: &NODE,
        ask_version: &[],
        suits: |_, _| false,
    },
];

const ETCD: Module = Module {
    folder: "etcd",
    path: "go.etcd.io/etcd/server/v3",
    inputs: &["go.sum"],
    stamp: |_| String::new(),
};
const KUBERNETES: Module = Module {
    folder: "kubernetes",
    path: "k8s.io/kubernetes",
    inputs: &["go.sum"],
    stamp: |version| {
        let [major, minor, patch] = version;
        let package = "k8s.io/component-base/version";
        format!(
            " -X {package}.gitVersion=v{major}.{minor}.{patch} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"
        )
    },
};
const HELM: Module = Module {
    folder: "helm",
    path: "helm.sh/helm/v4",
    inputs: &["go.sum"],
    stamp: |[major, minor, patch]| {
        format!(" -X helm.sh/helm/v4/internal/version.version=v{major}.{minor}.{patch}")
    },
};

const NODE: Module = Module {
    folder: "node",
    path: "github.com/coredns/coredns",
    inputs: &["go.sum", "pause/main.go"],
    stamp: |_| String::new(),
};

type Version = [u32; 3];

struct Tool {
    name: &'static str,
    package: &'static str,
    module: &'static Module,
    ask_version: &'static [&'static str],
    /// Whether a version on PATH may stand in for the pinned one.
    suits: fn(Version, Version) -> bool,
}

/// A Go module in `tools/` that pins one project.
struct Module {
    folder: &'static str,
    path: &'static str,
    /// The files that say what is built.
    inputs: &'static [&'static str],
    /// What the linker has to write into the program, so that it knows its version.
    stamp: fn(Version) -> String,
}

const fn kubernetes(name: &'static str, package: &'static str) -> Tool {
    Tool {
        name,
        package,
        module: &KUBERNETES,
        ask_version: &["--version"],
        // Other minor versions serve other APIs.
        suits: |found, pinned| found[..2] == pinned[..2],
    }
}

impl Tool {
    async fn find(&self) -> Result<Option<PathBuf>> {
        let given = std::env::var_os("KUBEBUILDER_ASSETS")
            .map(|folder| Path::new(&folder).join(self.name))
            .filter(|path| path.is_file());
        if given.is_some() {
            return Ok(given);
        }
        if let Some(path) = chat_local::programs::find(self.name)
            && let Some(version) = self.version_of(&path).await
            && (self.suits)(version, self.module.version()?)
        {
            return Ok(Some(path));
        }
        let built = self.module.cache()?.join(self.name);
        Ok(built.is_file().then_some(built))
    }

    async fn need(&self) -> Result<PathBuf> {
        let found = self.find().await?;
        found.with_context(|| format!("{} has gone while it was looked for", self.name))
    }

    async fn version_of(&self, program: &Path) -> Option<Version> {
        let output = Command::new(program).args(self.ask_version).output();
        parse_version(&String::from_utf8_lossy(&output.await.ok()?.stdout))
    }

    async fn build(&self, number: usize, of: usize) -> Result<()> {
        let cache = self.module.cache()?;
        std::fs::create_dir_all(&cache)?;
        let what = format!("{} ({number} of {of})", self.name);
        let _lock = lock(cache.join("lock"), &what).await?;
        let built = cache.join(self.name);
        if built.is_file() {
            return Ok(());
        }
        eprintln!("building {what} once, for the cache");
        let draft = cache.join(format!("{}.new", self.name));
        let mut go = Command::new("go")
            .args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath"])
            .args(["-ldflags", &self.module.linker_flags()?])
            .arg("-o")
            .arg(&draft)
            .arg(self.package)
            .current_dir(self.module.source())
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!(
                    "{} has to be built: install Go, or name a folder that has it in KUBEBUILDER_ASSETS",
                    self.name
                )
            })?;
        let started = Instant::now();
        let status = loop {
            match tokio::time::timeout(Duration::from_secs(15), go.wait()).await {
                Ok(status) => break status?,
                Err(_) => eprintln!("building {what}: {} s", started.elapsed().as_secs()),
            }
        };
        if !status.success() {
            bail!("{} could not be built: go ended with {status}", self.name);
        }
        std::fs::rename(draft, built)?;
        eprintln!("built {what} in {} s", started.elapsed().as_secs());
        Ok(())
    }
}

impl Module {
    fn source(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tools")
            .join(self.folder)
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.source().join(file);
        std::fs::read_to_string(&path).with_context(|| format!("{} is missing", path.display()))
    }

    /// The version that go.mod requires.
    fn version(&self) -> Result<Version> {
        let manifest = self.read("go.mod")?;
        let line = manifest
            .lines()
            .find_map(|line| line.strip_prefix("require ")?.strip_prefix(self.path));
        line.and_then(parse_version)
            .with_context(|| format!("tools/{}/go.mod pins no {}", self.folder, self.path))
    }

    fn linker_flags(&self) -> Result<String> {
        Ok(format!("-s -w{}", (self.stamp)(self.version()?)))
    }

    /// Programs of other versions or flags are in other folders.
    fn cache(&self) -> Result<PathBuf> {
        let mut inputs = String::new();
        for file in self.inputs {
            inputs += &self.read(file)?;
        }
        inputs += &self.linker_flags()?;
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, inputs.as_bytes());
        let hash: String = hash.as_ref()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(chat_local::cache()
            .join("kube")
            .join(format!("{}-{hash}", self.folder)))
    }
}

/// The first `1.2.3` in a text.
fn parse_version(text: &str) -> Option<Version> {
    text.split(|it: char| !it.is_ascii_digit() && it != '.')
        .find_map(|word| {
            let numbers: Vec<u32> = word
                .split('.')
                .map(str::parse)
                .collect::<Result<_, _>>()
                .ok()?;
            numbers.try_into().ok()
        })
}

/// Held until dropped; the kernel releases it when its owner dies.
async fn lock(path: PathBuf, what: &str) -> Result<File> {
    let file = File::create(path)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            eprintln!("waiting for the process that builds {what}");
        }
        Err(std::fs::TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
            return Ok(file);
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
    }
    tokio::task::spawn_blocking(move || {
        file.lock()?;
        Ok(file)
    })
    .await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_each_program_says() {
        for (said, version) in [
            ("Kubernetes v1.36.2\n", [1, 36, 2]),
            ("etcd Version: 3.6.16\nGit SHA: Not provided\n", [3, 6, 16]),
            ("v4.2.4+gab12cd3\n", [4, 2, 4]),
            (
                "Client Version: v1.32.13\nKustomize Version: v5.5.0\n",
                [1, 32, 13],
            ),
        ] {
            assert_eq!(parse_version(said), Some(version), "{said}");
        }
        assert_eq!(parse_version("go 1.26 only"), None);
    }

    #[test]
    fn every_module_pins_a_version() -> Result<()> {
        assert!(ETCD.version()? >= [3, 5, 0]);
        assert_eq!(KUBERNETES.version()?[..2], [1, 36]);
        assert_eq!(HELM.version()?[0], 4);
        assert!(NODE.version()? >= [1, 14, 0]);
        Ok(())
    }

    #[test]
    fn the_staging_modules_have_the_version_of_kubernetes() -> Result<()> {
        let [_, minor, patch] = KUBERNETES.version()?;
        let manifest = KUBERNETES.read("go.mod")?;
        let staged = manifest.lines().filter(|line| line.contains(" => "));
        let version = format!(" v0.{minor}.{patch}");
        let (right, wrong): (Vec<_>, Vec<_>) = staged.partition(|line| line.ends_with(&version));
        assert_eq!(wrong, Vec::<&str>::new());
        assert!(right.len() > 20, "{} are replaced", right.len());
        Ok(())
    }

    #[test]
    fn a_kubectl_on_path_may_be_one_minor_version_away_and_a_server_may_not() {
        let [_, api_server, .., kubectl, _] = &ALL;
        assert!((kubectl.suits)([1, 35, 9], [1, 36, 2]));
        assert!(!(kubectl.suits)([1, 32, 0], [1, 36, 2]));
        assert!(!(api_server.suits)([1, 35, 9], [1, 36, 2]));
        assert!((api_server.suits)([1, 36, 0], [1, 36, 2]));
    }
}
