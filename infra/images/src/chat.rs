//! The images of the product. What is in them is made by the same script that the
//! Dockerfiles use, so it is the same as long as program and libraries are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use chat_events::Service;
use chat_local::programs;
use uuid::Uuid;

use crate::archive::{Draft, Image};
use crate::layer::Layer;
use crate::{dockerfile, folder};

/// The Rust programs that have an image each.
pub const PROGRAMS: [&str; 6] = [
    Service::Auth.name(),
    Service::Users.name(),
    Service::Messages.name(),
    Service::SocketHandler.name(),
    Service::Notifications.name(),
    "operator",
];

/// All seven, as `chatcluster/<name>:<version>`. `programs` is the folder of the six
/// binaries, of any profile: debugging information is left out. `client` is the folder
/// of the built client.
pub fn chat(programs: &Path, client: &Path, version: &str) -> Result<Vec<Image>> {
    let binaries = PROGRAMS
        .iter()
        .map(|name| program(&programs.join(name), version)?.write(&folder()));
    let web = self::client(client, version).and_then(|web| web.write(&folder()));
    binaries.chain([web]).collect()
}

/// One of the six, named like the file.
pub fn program(binary: &Path, version: &str) -> Result<Draft> {
    let name = binary.file_name().context("a program without a name")?;
    let work = Work::new()?;
    let stripped = strip(&work, binary)?;
    Ok(Draft {
        name: image(&name.to_string_lossy(), version),
        layers: vec![Layer::of_folder(&work.root(&stripped, "/app")?)?],
        config: dockerfile::last_stage(&text("rust.Dockerfile")?)?,
    })
}

/// The client and the distribution's NGINX, which serves it.
pub fn client(built: &Path, version: &str) -> Result<Draft> {
    let nginx = programs::need("nginx", "nginx-light")?;
    let work = Work::new()?;
    let root = work.root(&nginx, "/app")?;
    let site = root.join("srv");
    run(Command::new("cp").arg("-r").arg(built).arg(&site))?;
    ensure!(
        site.join("index.html").is_file(),
        "{} holds no built client",
        built.display()
    );
    let settings = root.join("etc/nginx");
    std::fs::create_dir_all(&settings)?;
    std::fs::write(settings.join("nginx.conf"), text("nginx.conf")?)?;
    Ok(Draft {
        name: image("web", version),
        layers: vec![Layer::of_folder(&root)?],
        config: dockerfile::last_stage(&text("client.Dockerfile")?)?,
    })
}

fn image(name: &str, version: &str) -> String {
    format!("chatcluster/{name}:{version}")
}

/// A copy without debugging information and names.
pub fn strip(work: &Work, binary: &Path) -> Result<PathBuf> {
    let stripped = work.0.join("stripped");
    run(Command::new("strip").arg("-o").arg(&stripped).arg(binary))?;
    Ok(stripped)
}

/// A folder that goes when it is dropped.
pub struct Work(PathBuf);

impl Work {
    pub fn new() -> Result<Self> {
        let path = folder().join(format!("{}.new", Uuid::new_v4()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// The root file system, with a program that is started as `place`.
    pub fn root(&self, program: &Path, place: &str) -> Result<PathBuf> {
        let root = self.0.join("root");
        let script = docker("rootfs");
        run(Command::new(script).arg(program).arg(&root).arg(place))?;
        Ok(root)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn docker(file: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.with_file_name("docker").join(file)
}

fn text(file: &str) -> Result<String> {
    let path = docker(file);
    std::fs::read_to_string(&path).with_context(|| format!("{} is missing", path.display()))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("{} cannot be started", command.get_program().display()))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {error}");
    Ok(())
}
