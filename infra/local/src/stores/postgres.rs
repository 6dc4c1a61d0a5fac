//! A private PostgreSQL. It refuses to run as root, so root runs it as the
//! packages' `postgres` user.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

use super::{ADMIN, StoresHandle};
use crate::daemon::{Daemon, Plan};
use crate::process::{self, Program, RunAs};
use crate::{programs, space};

const SETTINGS: &str = "\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 400
shared_buffers = 64MB
max_wal_size = 512MB
wal_level = minimal
max_wal_senders = 0
password_encryption = scram-sha-256
log_line_prefix = '%m [%p] %d '
log_checkpoints = off
timezone = 'UTC'
jit = off
";

pub async fn daemon(handle: &StoresHandle) -> Result<Daemon> {
    let postgres = programs::need("postgres", "postgresql")?;
    let folder = handle.folder.join("postgres");
    space::create(&folder)?;
    let user = run_as(&folder)?;
    let data = folder.join("data");
    if data.join("PG_VERSION").exists() {
        check_version(&data, &postgres).await?;
    } else {
        create(handle, &postgres, &folder, user.as_ref()).await?;
    }
    std::fs::write(data.join("conf.d.conf"), SETTINGS)
        .with_context(|| space::write_failed(&data))?;

    let mut program = Program::new(postgres, &folder)
        .arg("-D")
        .arg(data.to_string_lossy())
        .arg("-p")
        .arg(handle.postgres_port.to_string());
    program.user = user;
    let admin = handle.postgres("postgres");
    Ok(Daemon::new(Plan {
        name: "PostgreSQL".into(),
        program,
        log: handle.log("postgres"),
        pid_file: handle.pid_file("postgres"),
        // "Fast": ends the sessions, rolls back and writes a checkpoint.
        stop_signal: Signal::SIGINT,
        stop_patience: Duration::from_secs(30),
        start_patience: Duration::from_secs(60),
        advice: super::ADVICE,
        ready: Arc::new(move || {
            let admin = admin.clone();
            Box::pin(async move {
                match PgConnection::connect_with(&admin).await {
                    Ok(connection) => connection.close().await.is_ok(),
                    Err(_) => false,
                }
            })
        }),
    }))
}

impl StoresHandle {
    /// How the administrator connects to a database.
    pub fn postgres(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.postgres_port)
            .username(ADMIN)
            .password(&self.password)
            .database(database)
            .ssl_mode(sqlx::postgres::PgSslMode::Disable)
            .disable_statement_logging()
    }
}

async fn create(
    handle: &StoresHandle,
    postgres: &Path,
    folder: &Path,
    user: Option<&RunAs>,
) -> Result<()> {
    // A folder without PG_VERSION is what an interrupted creation left.
    let data = folder.join("data");
    let _ = std::fs::remove_dir_all(&data);
    let password_file = folder.join("password");
    space::write_private(&password_file, &handle.password)?;
    if let Some(run_as) = user {
        let user = account(&run_as.user)?;
        for path in [folder, &password_file] {
            std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
    }
    let mut initdb = Program::new(programs::beside(postgres, "initdb"), folder)
        .arg("--pgdata=data")
        .arg(format!("--username={ADMIN}"))
        .arg("--pwfile=password")
        .arg("--auth=scram-sha-256")
        .arg("--encoding=UTF8")
        .arg("--locale=C.UTF-8")
        .arg("--data-checksums");
    initdb.user = user.cloned();
    process::run(&initdb, "Creating the PostgreSQL data folder").await?;
    std::fs::remove_file(&password_file)?;
    let settings = data.join("postgresql.conf");
    let mut content = std::fs::read_to_string(&settings)?;
    content.push_str("include = 'conf.d.conf'\n");
    std::fs::write(&settings, content).with_context(|| space::write_failed(&settings))
}

async fn check_version(data: &Path, postgres: &Path) -> Result<()> {
    let folder_version = std::fs::read_to_string(data.join("PG_VERSION"))?;
    let folder_version = folder_version.trim();
    let version = Program::new(postgres, "/").arg("--version");
    let printed = process::run(&version, "postgres --version").await?;
    let installed = printed
        .split_whitespace()
        .find_map(|word| word.split('.').next()?.parse::<u32>().ok());
    if installed.map(|it| it.to_string()).as_deref() != Some(folder_version) {
        bail!(
            "The data folder {} was made by PostgreSQL {folder_version}, but {} is installed: install PostgreSQL {folder_version}, or start empty with `cargo xtask up --fresh`.",
            data.display(),
            printed.trim()
        );
    }
    Ok(())
}

fn run_as(folder: &Path) -> Result<Option<RunAs>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let user = match User::from_name("postgres")? {
        Some(_) => "postgres",
        None => "nobody",
    };
    if programs::find("setpriv").is_none() {
        bail!(
            "PostgreSQL does not run as root: install the package util-linux (for `setpriv`), or run as another user."
        );
    }
    Ok(Some(RunAs {
        user: user.into(),
        pass_closed_folders: !space::open_to_others(folder),
    }))
}

fn account(name: &str) -> Result<User> {
    User::from_name(name)?.with_context(|| format!("The user {name} does not exist."))
}
