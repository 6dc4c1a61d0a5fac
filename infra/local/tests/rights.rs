//! Least rights: what a service may do in the stores, and what not.

use chat_events::Service;
use chat_local::{Cluster, testing};
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

#[tokio::test]
async fn a_role_connects_to_its_own_database_alone() {
    let cluster = testing::cluster().await;
    let other_cluster = testing::cluster().await;
    let with_database = Service::ALL.into_iter().filter(|it| it.has_database());
    for who in with_database.clone() {
        assert!(connect(&cluster, who, &cluster.role(who)).await.is_ok());
        for whose in with_database.clone().filter(|whose| *whose != who) {
            assert_refused(&cluster, who, &cluster.role(whose)).await;
        }
        assert_refused(&cluster, who, &other_cluster.role(who)).await;
        assert_refused(&cluster, who, "postgres").await;
        assert_refused(&cluster, who, "template1").await;
    }
}

#[tokio::test]
async fn a_redis_user_reaches_its_own_keys_alone() -> anyhow::Result<()> {
    let cluster = testing::cluster().await;
    let name = &cluster.name;
    for who in Service::ALL {
        let mut redis = redis_of(&cluster, who).await?;
        for whose in Service::ALL {
            let key = format!("{name}:{}:key", whose.name());
            let set: redis::RedisResult<()> = redis::cmd("SET")
                .arg(&key)
                .arg(1)
                .query_async(&mut redis)
                .await;
            assert_eq!(set.is_ok(), who == whose, "{} writes {key}", who.name());
        }
        let presence: redis::RedisResult<()> = redis::cmd("SET")
            .arg(format!("{name}:presence:key"))
            .arg(1)
            .query_async(&mut redis)
            .await;
        let shares = !matches!(who, Service::Auth | Service::Messages);
        assert_eq!(presence.is_ok(), shares, "{}", who.name());
        for dangerous in ["FLUSHALL", "CONFIG GET *", "KEYS *", "ACL LIST", "SHUTDOWN"] {
            let mut command = redis::Cmd::new();
            for word in dangerous.split(' ') {
                command.arg(word);
            }
            let refused = command.exec_async(&mut redis).await.expect_err(dangerous);
            assert_eq!(refused.code(), Some("NOPERM"), "{refused}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_broker_user_consumes_its_own_queues_alone() -> anyhow::Result<()> {
    let cluster = testing::cluster().await;
    let queue = "NOTIFICATIONS_SRV_UserQueue";
    let owner = broker_of(&cluster, Service::Notifications, &cluster.name).await?;
    let channel = owner.create_channel().await?;
    channel
        .queue_declare(
            queue.into(),
            lapin::options::QueueDeclareOptions {
                durable: true,
                ..Default::default()
            },
            FieldTable::default(),
        )
        .await?;
    for who in Service::ALL {
        let connection = broker_of(&cluster, who, &cluster.name).await?;
        let channel = connection.create_channel().await?;
        let consumed = channel
            .basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await;
        assert_eq!(
            consumed.is_ok(),
            who == Service::Notifications,
            "{}",
            who.name()
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_broker_user_enters_its_own_cluster_alone() {
    let cluster = testing::cluster().await;
    let other = testing::cluster().await;
    assert!(
        broker_of(&cluster, Service::Users, &other.name)
            .await
            .is_err()
    );
    assert!(broker_of(&cluster, Service::Users, "/").await.is_err());
}

async fn connect(cluster: &Cluster, who: Service, database: &str) -> sqlx::Result<PgConnection> {
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(cluster.stores.postgres_port)
        .username(&cluster.role(who))
        .password(cluster.password(who))
        .database(database);
    PgConnection::connect_with(&options).await
}

async fn assert_refused(cluster: &Cluster, who: Service, database: &str) {
    let error = connect(cluster, who, database).await.expect_err(database);
    let said = error.to_string();
    assert!(said.contains("permission denied for database"), "{said}");
}

async fn redis_of(
    cluster: &Cluster,
    who: Service,
) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    let url = format!(
        "redis://{}:{}@127.0.0.1:{}",
        cluster.role(who),
        cluster.password(who),
        cluster.stores.redis_port
    );
    redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await
}

async fn broker_of(cluster: &Cluster, who: Service, vhost: &str) -> lapin::Result<Connection> {
    let url = format!(
        "amqp://{}:{}@127.0.0.1:{}/{}",
        cluster.role(who),
        cluster.password(who),
        cluster.stores.rabbitmq_port,
        vhost.replace('/', "%2f")
    );
    Connection::connect(&url, ConnectionProperties::default()).await
}
