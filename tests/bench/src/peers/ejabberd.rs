//! ejabberd from Debian's packages, unpacked into the cache, with users and archive in
//! the PostgreSQL of the run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use chat_e2e::await_until;
use chat_e2e::load::usage::Parts;
use chat_local::process::Program;
use chat_local::{ADMIN, Stores, ports, programs};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::debian::unpack;
use super::{Peer, folder, start as start_peer};

pub const HOST: &str = "localhost";
pub const ROOMS: &str = "conference.localhost";
pub const PASSWORD: &str = "correct horse";
const DATABASE: &str = "ejabberd";
/// Of its tables.
const SCHEMA: &str = "usr/share/ejabberd/sql/pg.sql";
const DIFFERS: &str = "it writes two rows for a message from one to one and one for a message to a room, has no broker, numbers nothing, and \
    does not say when a message is stored";
/// Most of a room. Nobody is told who comes and goes, as by ours.
const MEMBERS: usize = 20_000;
/// Beside Erlang itself, which RabbitMQ brings.
const PACKAGES: [&str; 26] = [
    "ejabberd",
    "erlang-base64url",
    "erlang-goldrush",
    "erlang-idna",
    "erlang-jiffy",
    "erlang-jose",
    "erlang-lager",
    "erlang-luerl",
    "erlang-odbc",
    "erlang-p1-acme",
    "erlang-p1-cache-tab",
    "erlang-p1-eimp",
    "erlang-p1-mqtree",
    "erlang-p1-oauth2",
    "erlang-p1-pgsql",
    "erlang-p1-pkix",
    "erlang-p1-stringprep",
    "erlang-p1-stun",
    "erlang-p1-tls",
    "erlang-p1-utils",
    "erlang-p1-xml",
    "erlang-p1-xmpp",
    "erlang-p1-yaml",
    "erlang-p1-yconf",
    "erlang-p1-zlib",
    "erlang-unicode-util-compat",
];

/// The name of the user with this number.
pub fn user(number: usize) -> String {
    format!("user{number}")
}

pub async fn start(stores: &Stores, users: usize) -> anyhow::Result<Peer> {
    let root = unpack("ejabberd", &PACKAGES, SCHEMA).await?;
    database(stores, &root, users).await?;
    let (folder, port) = (folder("ejabberd")?, ports::free()?);
    let handle = stores.handle();
    let settings = format!(
        "hosts: [\"{HOST}\"]\n\
         loglevel: warning\n\
         listen:\n  -\n    port: {port}\n    ip: \"127.0.0.1\"\n    module: ejabberd_c2s\n    \
             starttls: false\n    shaper: none\n    access: all\n\
         sql_type: pgsql\nsql_server: \"127.0.0.1\"\nsql_port: {}\n\
         sql_database: \"{DATABASE}\"\nsql_username: \"{ADMIN}\"\nsql_password: \"{}\"\n\
         default_db: sql\nauth_method: [sql]\nauth_password_format: plain\n\
         modules:\n  mod_mam:\n    default: always\n    db_type: sql\n  mod_muc:\n    \
             host: {ROOMS}\n    db_type: sql\n    max_users: {MEMBERS}\n    \
             default_room_options:\n      persistent: true\n      mam: true\n      \
             max_users: {MEMBERS}\n      presence_broadcast: []\n",
        handle.postgres_port, handle.password
    );
    let file = folder.join("ejabberd.yml");
    chat_local::write_private(&file, settings)?;
    let beams = newest(&root.join("usr/lib/x86_64-linux-gnu"), "ejabberd-")?.join("ebin");
    let libraries = root.join("usr/lib/erlang/lib");
    let quoted = |path: &Path| format!("\"{}\"", path.display());
    let program = Program::new(programs::need("erl", "erlang-base")?, &folder)
        .env("ERL_LIBS", libraries.to_string_lossy())
        .env("HOME", folder.to_string_lossy())
        .arg("+S")
        .arg("2:2")
        .arg("-noinput")
        .arg("-pa")
        .arg(beams.to_string_lossy())
        .arg("-mnesia")
        .arg("dir")
        .arg(quoted(&folder.join("mnesia")))
        .arg("-ejabberd")
        .arg("config")
        .arg(quoted(&file))
        .arg("-ejabberd")
        .arg("log_path")
        .arg(quoted(&folder.join("ejabberd.own.log")))
        .arg("-s")
        .arg("ejabberd");
    start_peer("ejabberd", DIFFERS, port, program).await
}

/// Its processes, and PostgreSQL.
pub async fn parts(peer: &Peer, stores: &Stores) -> anyhow::Result<Parts> {
    let mut parts = peer.parts.clone();
    let postgres = stores.postgres.pid().await;
    parts.add("postgresql", postgres.context("PostgreSQL does not run")?);
    Ok(parts)
}

fn newest(folder: &Path, start: &str) -> anyhow::Result<PathBuf> {
    std::fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(start))
        })
        .max()
        .with_context(|| format!("nothing in {} begins with {start}", folder.display()))
}

async fn database(stores: &Stores, root: &Path, users: usize) -> anyhow::Result<()> {
    let handle = stores.handle();
    let mut admin = PgConnection::connect_with(&handle.postgres("postgres")).await?;
    sqlx::raw_sql(AssertSqlSafe(format!("create database {DATABASE}")))
        .execute(&mut admin)
        .await?;
    let mut database = PgConnection::connect_with(&handle.postgres(DATABASE)).await?;
    let tables = std::fs::read_to_string(root.join(SCHEMA))?;
    sqlx::raw_sql(AssertSqlSafe(tables))
        .execute(&mut database)
        .await?;
    let names: Vec<String> = (0..users).map(user).collect();
    sqlx::query(
        "insert into users (username, password) select name, $2 from unnest($1::text[]) name",
    )
    .bind(names)
    .bind(PASSWORD)
    .execute(&mut database)
    .await?;
    Ok(())
}

/// Its archive has so many rows.
pub async fn await_archive(stores: &Stores, rows: i64) -> anyhow::Result<()> {
    let mut database = PgConnection::connect_with(&stores.handle().postgres(DATABASE)).await?;
    await_until("the archive", Duration::from_secs(60), async || {
        let found: i64 = sqlx::query_scalar("select count(*) from archive")
            .fetch_one(&mut database)
            .await?;
        Ok((found >= rows).then_some(()))
    })
    .await
}
