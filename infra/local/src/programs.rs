//! Where the servers are on this machine: on PATH, in Debian's folders, or in
//! Homebrew's.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

const FOLDERS: [&str; 10] = [
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "/opt/homebrew/sbin",
    "/home/linuxbrew/.linuxbrew/bin",
    "/home/linuxbrew/.linuxbrew/sbin",
    "/usr/lib/rabbitmq/bin",
];

/// Folders that hold one folder per version, the newest of which is taken.
const VERSIONED: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@"),
];

/// Finds a program by its name.
pub fn find(name: &str) -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH");
    let on_path = on_path.iter().flat_map(std::env::split_paths);
    on_path
        .chain(FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .or_else(|| find_versioned(name))
}

/// Finds a server, or says in a sentence which package is missing.
pub fn need(name: &str, package: &str) -> Result<PathBuf> {
    find(name).ok_or_else(|| {
        anyhow!("`{name}` is not on this machine: install the package {package}, or run `cargo xtask up`, which does it.")
    })
}

/// RabbitMQ's own start script. The one on Debian's PATH is a wrapper that
/// changes to the system's user and reads the system's settings.
pub fn rabbitmq_server() -> Result<PathBuf> {
    let plain = Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
    if plain.is_file() {
        return Ok(plain.to_owned());
    }
    need("rabbitmq-server", "rabbitmq-server")
}

/// The library that gives a program another wall clock.
pub fn faketime() -> Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib")?.flatten();
    folders
        .map(|folder| folder.path().join("faketime/libfaketime.so.1"))
        .find(|library| library.is_file())
        .ok_or_else(|| anyhow!("libfaketime is not on this machine: install the package faketime."))
}

/// The program that belongs to the same PostgreSQL as `postgres`: two versions
/// must never be mixed.
pub fn beside(program: &Path, name: &str) -> PathBuf {
    let real = std::fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    real.with_file_name(name)
}

fn find_versioned(name: &str) -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = VERSIONED
        .iter()
        .filter_map(|(folder, prefix)| Some((std::fs::read_dir(folder).ok()?, *prefix)))
        .flat_map(|(entries, prefix)| entries.flatten().map(move |entry| (entry, prefix)))
        .filter_map(|(entry, prefix)| {
            let version = entry
                .file_name()
                .to_str()?
                .strip_prefix(prefix)?
                .parse()
                .ok()?;
            let path = entry.path().join("bin").join(name);
            path.is_file().then_some((version, path))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, path)| path)
}
