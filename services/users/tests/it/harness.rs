//! Running replicas of the service, the people in its directory, and the others
//! on the broker.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chat_events::topology::{self, Queue};
use chat_events::{Event, Recorded, Service, UserId, UserRef};
use chat_kit::broker::{Broker, Publisher};
use chat_kit::config::{BrokerArgs, RedisArgs};
use chat_kit::health::Readiness;
use chat_kit::presence::{Leases, Presence};
use chat_local::testing::{TestCluster, cluster};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use chat_e2e::{SignedIn as Person, StandInAuth as Auth};

pub const ORIGIN: &str = "http://localhost:8080";
pub const DEADLINE: Duration = Duration::from_secs(20);
pub const DRAIN: Duration = Duration::from_secs(25);

pub struct Stack {
    pub auth: Auth,
    pub http: reqwest::Client,
    pub database: PgPool,
    /// The first replica.
    pub replica: Replica,
    pub publisher: Publisher,
    heard: Arc<Mutex<Vec<Event>>>,
    stop: CancellationToken,
    /// Last: what the others use goes after them.
    pub cluster: TestCluster,
}

pub struct Replica {
    pub port: u16,
    pub admin_port: u16,
    pub child: Child,
}

/// How the table of users was read.
pub struct Reads {
    /// Rows that were read without an index.
    pub of_table: i64,
    /// Scans of its indexes.
    pub of_indexes: i64,
}

/// A pod that holds sockets, as socket-handler and notifications do.
pub struct Pod {
    pub presence: Presence,
    pub stop: CancellationToken,
    keep: JoinHandle<()>,
}

impl Pod {
    /// Ends without a word.
    pub fn kill(&self) {
        self.keep.abort();
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stack {
    pub async fn start() -> Self {
        Self::on(cluster().await).await
    }

    pub async fn on(cluster: TestCluster) -> Self {
        let auth = Auth::start(&cluster.name).await;
        let migrated = command(&cluster, &auth, "migrate").status().await;
        assert!(migrated.expect("migrate runs").success());
        let stop = CancellationToken::new();
        let replica = spawn(&cluster, &auth);
        let stack = Self {
            publisher: publisher(&cluster, stop.clone()),
            heard: listen(&cluster, stop.clone()),
            database: database(&cluster),
            http: reqwest::Client::new(),
            replica,
            auth,
            stop,
            cluster,
        };
        stack.await_ready(&stack.replica).await;
        stack
    }

    /// One more replica.
    pub async fn another(&self) -> Replica {
        let replica = spawn(&self.cluster, &self.auth);
        self.await_ready(&replica).await;
        replica
    }

    pub async fn await_ready(&self, replica: &Replica) {
        until("the service is ready", async || {
            (self.readiness(replica).await?.0 == StatusCode::OK).then_some(())
        })
        .await;
    }

    pub async fn readiness(&self, replica: &Replica) -> Option<(StatusCode, Value)> {
        let url = format!("http://127.0.0.1:{}/readyz", replica.admin_port);
        let answer = self.http.get(url).send().await.ok()?;
        Some((answer.status(), answer.json().await.ok()?))
    }

    pub async fn metrics(&self) -> String {
        let url = format!("http://127.0.0.1:{}/metrics", self.replica.admin_port);
        let answer = self.http.get(url).send().await.expect("an answer");
        answer.text().await.expect("a text")
    }

    /// The service's own command with the same settings.
    pub fn command(&self, subcommand: &str) -> Command {
        command(&self.cluster, &self.auth, subcommand)
    }

    /// Somebody in the directory, with a session.
    pub async fn person(&self, username: &str) -> Person {
        let people = self.people(&[username]).await;
        people.into_iter().next().expect("one person")
    }

    /// Many of them, in one batch of events.
    pub async fn people(&self, usernames: &[&str]) -> Vec<Person> {
        let people: Vec<Person> = usernames
            .iter()
            .map(|name| self.auth.person(name))
            .collect();
        let events = people
            .iter()
            .map(|person| Recorded::new(registered(person), None))
            .collect();
        let published = timeout(DEADLINE, self.publisher.publish_all(events)).await;
        published
            .expect("the broker answers")
            .expect("the events are on the broker");
        for person in &people {
            until("the user is in the directory", async || {
                self.user(person, person.id).await
            })
            .await;
        }
        people
    }

    pub async fn publish(&self, event: Event) {
        self.publish_as_is(Recorded::new(event, None)).await;
    }

    pub async fn publish_as_is(&self, recorded: Recorded) {
        timeout(DEADLINE, self.publisher.publish(recorded))
            .await
            .expect("the broker answers")
            .expect("the event is on the broker");
    }

    /// What notifications heard of users, in order.
    pub fn heard(&self) -> Vec<Event> {
        self.heard.lock().expect("the events").clone()
    }

    /// The comings and goings of one user that others were told of.
    pub fn transitions(&self, person: &Person) -> Vec<&'static str> {
        self.heard()
            .iter()
            .filter_map(|event| match event {
                Event::UserOnline(user) if user.user_id == person.id => Some("online"),
                Event::UserOffline(user) if user.user_id == person.id => Some("offline"),
                _ => None,
            })
            .collect()
    }

    pub async fn await_transitions(&self, person: &Person, expected: &[&str]) {
        let told = async || (self.transitions(person) == expected).then_some(());
        until(&format!("{expected:?}"), told).await;
    }

    pub fn leases(&self) -> Leases {
        let env = self.cluster.env(Service::SocketHandler);
        Leases::new(&redis_args(&env), &self.cluster.name).expect("leases")
    }

    pub async fn pod(&self, name: &str) -> Pod {
        let presence = Presence::new(self.leases(), name, self.publisher.clone());
        let stop = CancellationToken::new();
        let keep = tokio::spawn(presence.clone().keep(stop.clone(), DRAIN));
        Pod {
            presence,
            stop,
            keep,
        }
    }

    /// A request as from a page of ours, without a session.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_to(&self.replica, method, path)
    }

    pub fn request_to(&self, replica: &Replica, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://127.0.0.1:{}{path}", replica.port);
        self.http.request(method, url).header("origin", ORIGIN)
    }

    pub async fn get(&self, person: &Person, path: &str) -> Response {
        self.get_from(&self.replica, person, path).await
    }

    pub async fn get_from(&self, replica: &Replica, person: &Person, path: &str) -> Response {
        let request = self.request_to(replica, Method::GET, path);
        let answer = request.bearer_auth(&person.token).send().await;
        answer.expect("an answer")
    }

    /// The user as `person` sees him, if there is one.
    pub async fn user(&self, person: &Person, id: UserId) -> Option<Value> {
        let answer = self.get(person, &format!("/api/users/{id}")).await;
        if answer.status() == StatusCode::NOT_FOUND {
            return None;
        }
        Some(json(answer, StatusCode::OK).await)
    }

    pub async fn list(&self, person: &Person, query: &str) -> Value {
        self.list_from(&self.replica, person, query).await
    }

    pub async fn list_from(&self, replica: &Replica, person: &Person, query: &str) -> Value {
        let path = format!("/api/users?{query}");
        json(self.get_from(replica, person, &path).await, StatusCode::OK).await
    }

    pub async fn rename(&self, person: &Person, display_name: &str) -> Response {
        let body = serde_json::json!({ "display_name": display_name });
        self.request(Method::PATCH, "/api/users/me")
            .bearer_auth(&person.token)
            .json(&body)
            .send()
            .await
            .expect("an answer")
    }

    /// What was read of the table of users so far, to the last row. A backend tells
    /// its counts from time to time, and in any case before it ends: so those of the
    /// service are ended first. It connects again when it needs to.
    pub async fn reads_of_users(&self) -> Reads {
        let mut own = self.database.acquire().await.expect("a connection");
        let backends: Vec<i32> = sqlx::query_scalar(
            "select pid from pg_stat_activity
             where datname = current_database() and usename = current_user
                 and pid <> pg_backend_pid()",
        )
        .fetch_all(&mut *own)
        .await
        .expect("backends");
        // Apart: in one statement the rights would be asked before the names.
        sqlx::query("select pg_terminate_backend(pid) from unnest($1::int[]) as pid")
            .bind(&backends)
            .execute(&mut *own)
            .await
            .expect("signals");
        until("they have ended", async || {
            let left: i64 =
                sqlx::query_scalar("select count(*) from pg_stat_activity where pid = any($1)")
                    .bind(&backends)
                    .fetch_one(&mut *own)
                    .await
                    .ok()?;
            (left == 0).then_some(())
        })
        .await;
        let (of_table, of_indexes) = sqlx::query_as(
            "select seq_tup_read, coalesce(idx_scan, 0) from pg_stat_user_tables
             where relname = 'users'",
        )
        .fetch_one(&mut *own)
        .await
        .expect("statistics");
        Reads {
            of_table,
            of_indexes,
        }
    }

    /// Keeps every replica from sweeping and comparing presence, until it is dropped.
    pub async fn nobody_sweeps(&self) -> PgConnection {
        let name = self.cluster.role(Service::Users);
        let options = self.cluster.stores.postgres(&name);
        let mut connection = PgConnection::connect_with(&options)
            .await
            .expect("a connection");
        sqlx::query("select pg_advisory_lock(hashtext('presence'))")
            .execute(&mut connection)
            .await
            .expect("the lock");
        connection
    }

    /// Everything that a request could have written.
    pub async fn state(&self) -> String {
        sqlx::query_scalar(
            "select concat((select json_agg(users order by id) from users),
                           (select json_agg(outbox order by id) from outbox),
                           (select count(*) from deleted_users),
                           (select version from directory))",
        )
        .fetch_one(&self.database)
        .await
        .expect("a row")
    }
}

fn spawn(cluster: &TestCluster, auth: &Auth) -> Replica {
    let [port, admin_port] = [(); 2].map(|()| chat_local::ports::free().expect("a port"));
    let child = command(cluster, auth, "serve")
        .env("PORT", port.to_string())
        .env("ADMIN_PORT", admin_port.to_string())
        .spawn()
        .expect("serve runs");
    Replica {
        port,
        admin_port,
        child,
    }
}

fn command(cluster: &TestCluster, auth: &Auth, subcommand: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_users"));
    command
        .arg(subcommand)
        .env_clear()
        .envs(cluster.env(Service::Users))
        .env("HOST", "127.0.0.1")
        .env("AUTH_URL", &auth.url)
        .env("PUBLIC_ORIGINS", ORIGIN)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

fn variable(env: &[(String, String)], name: &str) -> String {
    env.iter()
        .find_map(|(key, value)| (key == name).then(|| value.clone()))
        .unwrap_or_default()
}

fn redis_args(env: &[(String, String)]) -> RedisArgs {
    RedisArgs {
        redis_host: variable(env, "REDIS_HOST"),
        redis_user: variable(env, "REDIS_USER"),
        redis_password: variable(env, "REDIS_PASSWORD").into(),
    }
}

pub fn broker(cluster: &TestCluster, service: Service) -> Broker {
    let env = cluster.env(service);
    let args = BrokerArgs {
        rmq_host: variable(&env, "RMQ_HOST"),
        rmq_port: variable(&env, "RMQ_PORT").parse().expect("a port"),
        rmq_vhost: variable(&env, "RMQ_VHOST"),
        rmq_user: variable(&env, "RMQ_USER"),
        rmq_password: variable(&env, "RMQ_PASSWORD").into(),
    };
    Broker::new(&args, "tests".into(), Readiness::default().part("broker"))
}

/// Publishes what auth and the pods with sockets would.
fn publisher(cluster: &TestCluster, stop: CancellationToken) -> Publisher {
    let (publisher, work) = Publisher::new(broker(cluster, Service::Auth), stop);
    tokio::spawn(work);
    publisher
}

pub fn queue(name: &str) -> Queue {
    let mut queues = topology::queues().into_iter();
    queues.find(|queue| queue.name == name).expect("a queue")
}

/// Hears what notifications would.
fn listen(cluster: &TestCluster, stop: CancellationToken) -> Arc<Mutex<Vec<Event>>> {
    let heard: Arc<Mutex<Vec<Event>>> = Arc::default();
    let (broker, events) = (broker(cluster, Service::Notifications), heard.clone());
    tokio::spawn(async move {
        let queue = queue("NOTIFICATIONS_SRV_UserQueue");
        broker
            .consume(&queue, 8, &stop, |batch| {
                let mut events = events.lock().expect("the events");
                events.extend(batch.iter().map(|recorded| recorded.event.clone()));
                std::future::ready(Ok(()))
            })
            .await;
    });
    heard
}

fn database(cluster: &TestCluster) -> PgPool {
    let env = cluster.env(Service::Users);
    let options = PgConnectOptions::new()
        .host(&variable(&env, "DB_HOST"))
        .port(variable(&env, "DB_PORT").parse().expect("a port"))
        .username(&variable(&env, "DB_USER"))
        .password(&variable(&env, "DB_PASSWORD"))
        .database(&variable(&env, "DB_NAME"));
    PgPool::connect_lazy_with(options)
}

/// Asks again and again until there is an answer.
pub async fn until<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(DEADLINE, what, ask).await
}

pub async fn within<T>(
    patience: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The body of an answer that must have the status.
pub async fn json(answer: Response, status: StatusCode) -> Value {
    let given = answer.status();
    let body = answer.text().await.expect("a body");
    assert_eq!(given, status, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// Checks that the answer is a problem of that status and code.
pub async fn problem(answer: Response, status: u16, code: &str) -> Value {
    assert_eq!(
        answer.headers()["content-type"],
        "application/problem+json",
        "{answer:?}"
    );
    let status = StatusCode::from_u16(status).expect("a status");
    let body = json(answer, status).await;
    assert_eq!(body["code"], code, "{body}");
    body
}

pub fn registered(person: &Person) -> Event {
    Event::UserRegistered(UserRef {
        user_id: person.id,
        username: person.username.clone(),
        display_name: person.username.clone(),
        version: 1,
    })
}

pub fn names(page: &Value) -> Vec<String> {
    let users = page["users"].as_array().expect("users");
    users
        .iter()
        .map(|user| user["username"].as_str().expect("a name").to_owned())
        .collect()
}
