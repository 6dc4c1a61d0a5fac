//! New passwords in running stores: the same scripts and servers, taken twice through
//! every stage by a Secret that changes under them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_events::{Service, rights};
use chat_local::daemon::Daemon;
use chat_local::ports;
use chat_operator::credentials::{Credentials, PasswordStage, Turn};
use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinHandle;

use super::place::{CHAT, Place, credentials};
use super::{Node, broker, cache, enter};

/// As in every managed store.
fn user(service: Service, turn: Turn) -> String {
    match turn {
        Turn::First => rights::role(CHAT, service),
        Turn::Second => format!("{}_2", rights::role(CHAT, service)),
    }
}

/// The stages of one change, from announced to settled.
fn change(from: Credentials, request: &str) -> Result<Vec<Credentials>> {
    let mut stages = vec![from];
    for step in 1..=5 {
        let now = Timestamp::from_second(step * 1_000)?;
        let last = stages[stages.len() - 1].clone();
        stages.push(last.with_new_passwords(Some(request), Some(Duration::ZERO), now)?);
    }
    Ok(stages.split_off(1))
}

#[derive(Clone, Copy)]
enum Kind {
    Postgres,
    Rabbitmq,
    Redis,
}

/// A store that runs, and the script beside it.
struct Running<'a> {
    kind: Kind,
    port: u16,
    place: &'a Place,
    services: Vec<Service>,
}

impl Running<'_> {
    async fn lets_in(&self, user: &str, password: &str, service: Service) -> bool {
        lets_in(self.kind, self.port, user, password, service).await
    }

    /// Waits until the store accepts and refuses as this stage says.
    async fn agrees(&self, stage: &Credentials) -> Result<()> {
        let until = async {
            for service in self.services.iter().copied() {
                for turn in Turn::BOTH {
                    let (user, password) = (user(service, turn), stage.password(service, turn));
                    let accepted = stage.passwords.accepts(turn);
                    if !password.is_empty() {
                        while self.lets_in(&user, password, service).await != accepted {}
                    }
                }
            }
        };
        let patience = Duration::from_secs(90);
        let came = tokio::time::timeout(patience, until).await;
        came.with_context(|| format!("{:?}", stage.passwords.annotations()))
    }

    /// Two changes. All the while, the logins that services use let them in.
    async fn changes_twice(&self, server: &Daemon) -> Result<Credentials> {
        let pid = server.pid().await;
        let users = Users::start(self, credentials());
        let mut last = credentials();
        let mut past = Vec::new();
        for request in ["first", "second"] {
            for stage in change(last.clone(), request)? {
                self.place.tell(stage.clone())?;
                self.agrees(&stage).await?;
                match stage.passwords.stage {
                    PasswordStage::Announced | PasswordStage::Withdrawn => {
                        self.place.check(stage.clone(), self.port).await?;
                    }
                    PasswordStage::Swapped => users.use_from_now_on(stage.clone()),
                    PasswordStage::Retiring(_) | PasswordStage::Settled => {}
                }
                past.push(stage.clone());
                last = stage;
            }
        }
        users.stop().await?;
        ensure!(server.pid().await == pid, "the server was restarted");
        for service in self.services.iter().copied() {
            for (stage, turn) in past.iter().flat_map(|it| Turn::BOTH.map(|turn| (it, turn))) {
                let old = stage.password(service, turn);
                if !old.is_empty() && old != last.password(service, last.passwords.used) {
                    let user = user(service, turn);
                    ensure!(!self.lets_in(&user, old, service).await, "{user}");
                }
            }
        }
        Ok(last)
    }
}

async fn lets_in(kind: Kind, port: u16, user: &str, password: &str, service: Service) -> bool {
    match kind {
        Kind::Postgres => {
            let database = rights::role(CHAT, service);
            enter(port, user, password, &database).await.is_ok()
        }
        Kind::Rabbitmq => broker(port, user, password).await.is_ok(),
        Kind::Redis => cache(port, &format!("{user}:{password}")).await.is_ok(),
    }
}

/// Services that log in again and again.
struct Users {
    with: Arc<Mutex<Credentials>>,
    tries: Arc<AtomicUsize>,
    task: JoinHandle<Vec<String>>,
    over: Arc<AtomicUsize>,
}

impl Users {
    fn start(store: &Running, with: Credentials) -> Self {
        let with = Arc::new(Mutex::new(with));
        let (tries, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (kind, port, services) = (store.kind, store.port, store.services.clone());
        let task = {
            let (with, tries, over) = (with.clone(), tries.clone(), over.clone());
            tokio::spawn(async move {
                let mut refused = Vec::new();
                while over.load(Ordering::Relaxed) == 0 {
                    for service in services.iter().copied() {
                        let now = with.lock().unwrap_or_else(PoisonError::into_inner).clone();
                        let used = now.passwords.used;
                        let (user, password) = (user(service, used), now.password(service, used));
                        tries.fetch_add(1, Ordering::Relaxed);
                        if !lets_in(kind, port, &user, password, service).await {
                            refused.push(user);
                        }
                    }
                }
                refused
            })
        };
        Self {
            with,
            tries,
            task,
            over,
        }
    }

    fn use_from_now_on(&self, stage: Credentials) {
        *self.with.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    async fn stop(self) -> Result<()> {
        self.over.store(1, Ordering::Relaxed);
        let refused = self.task.await?;
        let tries = self.tries.load(Ordering::Relaxed);
        ensure!(refused.is_empty(), "{tries} tries, refused: {refused:?}");
        ensure!(tries >= 50, "only {tries} tries");
        Ok(())
    }
}

/// With the script that makes it, it would make the same roles at the same time.
#[tokio::test]
async fn the_container_beside_postgres_reaches_no_server_that_is_being_made() -> Result<()> {
    let port = ports::free()?;
    let place = Place::new("postgres", "postgres-keeper", json!({}))?;
    place.edit("config/postgresql.conf", "'*'", "'127.0.0.1'")?;
    place.edit("config/keep.sh", "sleep 5", "sleep 0.1")?;
    // The server that only its script can reach stays until the other has tried in vain
    // a few times, two lines each, or has not.
    let wait = r#"\! log="$PGDATA/../../logs/logins.log"; lines=$(wc -l <"$log"); until grep knows "$log" || [ "$(wc -l <"$log")" -gt $((lines + 8)) ]; do sleep 0.1; done >"$PGDATA/../told""#;
    let made = place.read("config/server.sql")?;
    place.write("config/server.sql", &format!("{made}{wait}\n"))?;
    let at = [("PGPORT", port.to_string())];
    let keeper = place.keeper(&at).await?;
    let program = place.program().env("PGPORT", port.to_string());
    let server = place.plan("postgres", program, port);
    server.start().await?;
    let told = place.read("data/told")?;
    ensure!(told.is_empty(), "{told}");

    let knows = async {
        while !place.read("logs/logins.log")?.contains("the store knows") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    let patience = Duration::from_secs(90);
    let came = tokio::time::timeout(patience, knows).await;
    came.context("the store was never told")??;
    keeper.stop().await?;
    place.run("stop.sh", &[]).await?;
    server.stop().await
}

#[tokio::test]
async fn postgres_learns_new_passwords_while_it_runs_and_objects_stay_with_one_owner() -> Result<()>
{
    let port = ports::free()?;
    let place = Place::new("postgres", "postgres-passwords", json!({}))?;
    place.edit("config/postgresql.conf", "'*'", "'127.0.0.1'")?;
    let program = place.program().env("PGPORT", port.to_string());
    let server = place.plan("postgres", program, port);
    server.start().await?;
    let at = [("PGPORT", port.to_string())];
    place.until("ready.sh", &at).await?;
    let keeper = place.keeper(&at).await?;
    let store = Running {
        kind: Kind::Postgres,
        port,
        place: &place,
        services: Service::ALL
            .into_iter()
            .filter(|it| it.has_database())
            .collect(),
    };

    // Made by the first login, as by every chat from before there was a second.
    let database = rights::role(CHAT, Service::Auth);
    let login = |of: &Credentials, turn| {
        let password = of.password(Service::Auth, turn).to_owned();
        (user(Service::Auth, turn), password)
    };
    let (first, password) = login(&credentials(), Turn::First);
    let mut old = enter(port, &first, &password, &database).await?;
    sqlx::raw_sql("create table old (id int)")
        .execute(&mut old)
        .await?;

    let once = change(credentials(), "first")?;
    place.tell(once[1].clone())?;
    store.agrees(&once[1]).await?;
    let (second, password) = login(&once[1], Turn::Second);
    let mut new = enter(port, &second, &password, &database).await?;
    let sql = "alter table old add name text; create table new (id int)";
    sqlx::raw_sql(sql).execute(&mut new).await?;
    // The first can change what the second made, and the other way round.
    sqlx::raw_sql("alter table new add name text")
        .execute(&mut old)
        .await?;
    let others = rights::role(CHAT, Service::Users);
    ensure!(enter(port, &second, &password, &others).await.is_err());

    // A start with the Secret as it is then comes to the same.
    place.run("stop.sh", &[]).await?;
    server.stop().await?;
    server.start().await?;
    place.until("ready.sh", &at).await?;
    store.agrees(&once[1]).await?;

    place.tell(credentials())?;
    store.agrees(&credentials()).await?;
    let mut leftover = enter(port, &first, &password_of_first(), &database).await?;
    store.changes_twice(&server).await?;
    let ended = sqlx::raw_sql("select 1").execute(&mut leftover).await;
    ensure!(ended.is_err(), "a session of a withdrawn login goes on");
    keeper.stop().await?;
    place.run("stop.sh", &[]).await?;
    server.stop().await
}

fn password_of_first() -> String {
    credentials()
        .password(Service::Auth, Turn::First)
        .to_owned()
}

#[tokio::test]
async fn rabbitmq_learns_new_passwords_while_it_runs() -> Result<()> {
    let node = Node::new("rabbitmq-passwords", json!({}), ports::free()?, &[])?;
    let epmd = node.place.epmd(node.epmd).await?;
    let server = node.daemon();
    server.start().await?;
    node.started().await?;
    let keeper = node.place.keeper(&node.env).await?;
    let store = Running {
        kind: Kind::Rabbitmq,
        port: node.port,
        place: &node.place,
        services: Service::ALL.into(),
    };
    let first = user(Service::Auth, Turn::First);
    let leftover = broker(node.port, &first, &password_of_first()).await?;
    store.changes_twice(&server).await?;
    ensure!(
        leftover.create_channel().await.is_err(),
        "a connection of a withdrawn login goes on"
    );
    keeper.stop().await?;
    server.stop().await?;
    epmd.stop().await
}

#[tokio::test]
async fn redis_learns_new_passwords_while_it_runs() -> Result<()> {
    let port = ports::free()?;
    let place = Place::new("redis", "redis-passwords", json!({}))?;
    place.edit("config/redis.conf", "bind * -::*", "bind 127.0.0.1")?;
    place.edit("config/redis.conf", "port 6379", &format!("port {port}"))?;
    let server = place.plan("redis", place.program(), port);
    server.start().await?;
    let keeper = place.keeper(&[("PORT", port.to_string())]).await?;
    let store = Running {
        kind: Kind::Redis,
        port,
        place: &place,
        services: Service::ALL
            .into_iter()
            .filter(|it| *it != Service::Auth)
            .collect(),
    };
    let first = user(Service::Users, Turn::First);
    let old = credentials()
        .password(Service::Users, Turn::First)
        .to_owned();
    let mut leftover = cache(port, &format!("{first}:{old}")).await?;
    let key = format!("{CHAT}:users:key");
    let set = redis::cmd("SET").arg(&key).arg(1).clone();
    set.exec_async(&mut leftover).await?;

    let last = store.changes_twice(&server).await?;
    ensure!(
        set.exec_async(&mut leftover).await.is_err(),
        "a connection of a withdrawn login goes on"
    );
    // The second has the rights of the first, and no others.
    let half = change(last, "third")?;
    place.tell(half[1].clone())?;
    store.agrees(&half[1]).await?;
    for turn in Turn::BOTH {
        let password = half[1].password(Service::Users, turn);
        let mut redis = cache(port, &format!("{}:{password}", user(Service::Users, turn))).await?;
        set.exec_async(&mut redis).await?;
        let other = redis::cmd("GET")
            .arg("demo:messages:key")
            .exec_async(&mut redis)
            .await;
        ensure!(other.is_err());
    }
    keeper.stop().await?;
    server.stop().await
}
