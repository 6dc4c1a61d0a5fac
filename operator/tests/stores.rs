//! The scripts and settings of the managed stores, run with the real servers: as
//! processes on the loopback instead of containers, all else as it is rendered.

mod passwords;
mod place;

use std::time::Duration;

use anyhow::Result;
use chat_events::{Service, rights};
use chat_local::daemon::Daemon;
use chat_local::ports;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use place::{CHAT, Place, password};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection as _, PgConnection};

const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn postgres_gives_each_service_a_database_that_no_other_enters() -> Result<()> {
    let port = ports::free()?;
    let place = Place::new("postgres", "postgres", json!({}))?;
    place.edit("config/postgresql.conf", "'*'", "'127.0.0.1'")?;
    let program = place.program().env("PGPORT", port.to_string());
    let server = place.plan("postgres", program, port);
    server.start().await?;
    let at = [("PGPORT", port.to_string())];
    place.until("ready.sh", &at).await?;

    let services = Service::ALL.into_iter().filter(|it| it.has_database());
    for who in services.clone() {
        let role = rights::role(CHAT, who);
        let mut own = enter(port, &role, &password(who), &role).await?;
        sqlx::raw_sql("create table mine (id int)")
            .execute(&mut own)
            .await?;
        for whose in services.clone().filter(|whose| *whose != who) {
            let other = rights::role(CHAT, whose);
            let refused = enter(port, &role, &password(who), &other).await;
            let said = refused.expect_err(&other).to_string();
            assert!(said.contains("permission denied for database"), "{said}");
            assert!(enter(port, &role, &password(whose), &role).await.is_err());
        }
        assert!(
            enter(port, &role, &password(who), "postgres")
                .await
                .is_err()
        );
    }
    let superuser = enter(port, "postgres", "password-of-postgres", "postgres").await;
    let said = superuser.expect_err("the superuser by network").to_string();
    assert!(said.contains("pg_hba.conf rejects"), "{said}");

    // Ends at once although sessions are open, and comes back with its data and
    // with the passwords as they then are.
    let role = rights::role(CHAT, Service::Auth);
    let _open = enter(port, &role, &password(Service::Auth), &role).await?;
    place.run("stop.sh", &[]).await?;
    server.stop().await?;
    // Once by the start script, and once now.
    let log = place.read("logs/postgres.log")?;
    assert_eq!(log.matches("database system is shut down").count(), 2);
    place.write("secrets/auth-1", "it's \"new\" \\ :x $HOME `id`")?;
    server.start().await?;
    place.until("ready.sh", &at).await?;
    assert!(
        enter(port, &role, &password(Service::Auth), &role)
            .await
            .is_err()
    );
    let mut again = enter(port, &role, "it's \"new\" \\ :x $HOME `id`", &role).await?;
    sqlx::raw_sql("select id from mine")
        .execute(&mut again)
        .await?;
    place.run("stop.sh", &[]).await?;
    server.stop().await
}

#[tokio::test]
async fn rabbitmq_gives_each_service_its_queues_alone() -> Result<()> {
    let node = Node::new("rabbitmq", json!({}), ports::free()?, &[])?;
    let epmd = node.place.epmd(node.epmd).await?;
    let server = node.daemon();
    server.start().await?;
    node.started().await?;
    assert!(node.place.has("data/rabbitmq/complete"));
    node.run("alive.sh").await?;
    let port = node.port;

    let queue = "MESSAGES_SRV_UserQueue";
    let (role, key) = (
        rights::role(CHAT, Service::Messages),
        password(Service::Messages),
    );
    let owner = broker(port, &role, &key).await?;
    let mut quorum = FieldTable::default();
    quorum.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    owner
        .create_channel()
        .await?
        .queue_declare(queue.into(), durable, quorum)
        .await?;
    for who in Service::ALL {
        let role = rights::role(CHAT, who);
        let connection = broker(port, &role, &password(who)).await?;
        let consumed = connection
            .create_channel()
            .await?
            .basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await;
        assert_eq!(consumed.is_ok(), who == Service::Messages, "{role}");
        assert!(broker(port, &role, "wrong").await.is_err(), "{role}");
    }
    assert!(broker(port, "guest", "guest").await.is_err());
    assert!(broker(port, "admin", "password-of-rabbitmq").await.is_ok());

    server.stop().await?;
    epmd.stop().await
}

#[tokio::test]
async fn three_nodes_of_rabbitmq_that_start_at_once_form_one_cluster() -> Result<()> {
    let epmd_port = ports::free()?;
    let three = json!({ "rabbitmq": { "managed": { "replicas": 3 } } });
    let names: Vec<String> = (0..3)
        .map(|it| format!("chat-{it}-{epmd_port}@localhost"))
        .collect();
    let nodes = (0..3)
        .map(|number| {
            let mut all = names.clone();
            all.rotate_left(number);
            Node::new(
                &format!("rabbitmq-{number}"),
                three.clone(),
                epmd_port,
                &all,
            )
        })
        .collect::<Result<Vec<_>>>()?;
    let epmd = nodes[0].place.epmd(epmd_port).await?;
    let servers: Vec<Daemon> = nodes.iter().map(Node::daemon).collect();
    // The node that forms the cluster comes last.
    for server in servers.iter().rev() {
        server.launch().await?;
    }
    for (node, server) in nodes.iter().zip(&servers) {
        server.ready().await?;
        node.started().await?;
    }
    // Each may leave while the others are there, and come back.
    nodes[1].run("stop.sh").await?;
    servers[1].stop().await?;
    let left = nodes[0].run("started.sh").await;
    assert!(left.is_ok(), "one node less and still started: {left:?}");
    servers[1].start().await?;
    nodes[1].started().await?;
    for server in &servers {
        server.stop().await?;
    }
    epmd.stop().await
}

/// A node of RabbitMQ under a name of this machine.
struct Node {
    place: Place,
    port: u16,
    epmd: u16,
    env: Vec<(&'static str, String)>,
}

impl Node {
    /// `names` are those of all nodes, the own one first, when there are several.
    fn new(name: &str, spec: Value, epmd: u16, names: &[String]) -> Result<Self> {
        let (port, metrics, nodes) = (ports::free()?, ports::free()?, ports::free()?);
        let place = Place::new("rabbitmq", name, spec)?;
        let conf = "config/rabbitmq.conf";
        let listener = format!("listeners.tcp.1 = 127.0.0.1:{port}");
        place.edit(conf, "listeners.tcp.default = 5672", &listener)?;
        let exporter = format!("prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {metrics}");
        place.edit(conf, "prometheus.tcp.port = 15692", &exporter)?;
        let mut sorted = names.to_vec();
        sorted.sort();
        for (number, name) in sorted.iter().enumerate() {
            let rendered =
                format!("rabbit@{CHAT}-rabbitmq-{number}.{CHAT}-rabbitmq-nodes.default.svc");
            place.edit(conf, &rendered, name)?;
        }
        let alone = format!("chat-{port}@localhost");
        Ok(Self {
            env: vec![
                ("RABBITMQ_NODENAME", names.first().unwrap_or(&alone).clone()),
                ("FIRST_NODE", sorted.first().unwrap_or(&alone).clone()),
                ("RABBITMQ_USE_LONGNAME", "false".into()),
                ("RABBITMQ_DIST_PORT", nodes.to_string()),
                ("ERL_EPMD_PORT", epmd.to_string()),
                ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
                (
                    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                    "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}".into(),
                ),
            ],
            place,
            port,
            epmd,
        })
    }

    fn daemon(&self) -> Daemon {
        let mut program = self.place.program();
        for (name, value) in &self.env {
            program = program.env(name, value);
        }
        self.place.plan("rabbitmq", program, self.port)
    }

    async fn run(&self, script: &str) -> Result<String> {
        self.place.run(script, &self.env).await
    }

    async fn started(&self) -> Result<()> {
        self.place.until("started.sh", &self.env).await
    }
}

#[tokio::test]
async fn redis_gives_each_service_its_keys_alone() -> Result<()> {
    let port = ports::free()?;
    let place = Place::new("redis", "redis", json!({}))?;
    place.edit("config/redis.conf", "bind * -::*", "bind 127.0.0.1")?;
    place.edit("config/redis.conf", "port 6379", &format!("port {port}"))?;
    let server = place.plan("redis", place.program(), port);
    server.start().await?;

    for who in Service::ALL.into_iter().filter(|it| *it != Service::Auth) {
        let role = rights::role(CHAT, who);
        let mut redis = cache(port, &format!("{role}:{}", password(who))).await?;
        for whose in Service::ALL {
            let key = format!("{CHAT}:{}:key", whose.name());
            let got: redis::RedisResult<Option<String>> =
                redis::cmd("GET").arg(&key).query_async(&mut redis).await;
            assert_eq!(got.is_ok(), who == whose, "{role} reads {key}");
        }
        for dangerous in ["FLUSHALL", "CONFIG GET *", "KEYS *", "ACL LIST", "SHUTDOWN"] {
            assert_refused(&mut redis, dangerous).await;
        }
        assert!(cache(port, &format!("{role}:wrong")).await.is_err());
    }
    let auth = format!(
        "{}:{}",
        rights::role(CHAT, Service::Auth),
        password(Service::Auth)
    );
    assert!(
        cache(port, &auth).await.is_err(),
        "auth has no business here"
    );

    // Probes give no name, and may do nothing else.
    let mut nobody = cache(port, "").await?;
    redis::cmd("PING").exec_async(&mut nobody).await?;
    for command in ["GET demo:users:key", "ACL LIST", "INFO", "CLIENT LIST"] {
        assert_refused(&mut nobody, command).await;
    }
    let mut admin = cache(port, "admin:password-of-redis").await?;
    let policy: Vec<String> = redis::cmd("CONFIG")
        .arg("GET")
        .arg("maxmemory-policy")
        .query_async(&mut admin)
        .await?;
    assert_eq!(policy, ["maxmemory-policy", "volatile-lru"]);
    server.stop().await
}

async fn enter(
    port: u16,
    role: &str,
    password: &str,
    database: &str,
) -> sqlx::Result<PgConnection> {
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username(role)
        .password(password)
        .database(database)
        .ssl_mode(PgSslMode::Disable);
    PgConnection::connect_with(&options).await
}

async fn broker(port: u16, user: &str, password: &str) -> lapin::Result<Connection> {
    let url = format!("amqp://{user}:{password}@127.0.0.1:{port}/{CHAT}");
    Connection::connect(&url, ConnectionProperties::default()).await
}

async fn cache(port: u16, login: &str) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    let at = if login.is_empty() { "" } else { "@" };
    let patient = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    redis::Client::open(format!("redis://{login}{at}127.0.0.1:{port}"))?
        .get_multiplexed_async_connection_with_config(&patient)
        .await
}

async fn assert_refused(redis: &mut redis::aio::MultiplexedConnection, command: &str) {
    let mut refused = redis::Cmd::new();
    for word in command.split(' ') {
        refused.arg(word);
    }
    let error = refused.exec_async(redis).await.expect_err(command);
    assert_eq!(error.code(), Some("NOPERM"), "{command}: {error}");
}
