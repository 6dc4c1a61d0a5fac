//! The servers start, keep their data, and can be stopped one by one.

use std::net::TcpListener;

use chat_events::Service;
use chat_local::{Stores, provision, testing};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

#[tokio::test]
async fn a_second_start_finds_ports_passwords_and_data_again() -> anyhow::Result<()> {
    let (stores, _) = testing::own_stores().await;
    let cluster = provision(&stores.handle(), "kept").await?;
    let before = cluster.env(Service::Users);

    let stores = stores.into_inner();
    let folder = stores.handle().folder.clone();
    stores.stop().await?;
    let stores = Stores::start(&folder).await?;

    let again = provision(&stores.handle(), "kept").await?;
    assert_eq!(again.env(Service::Users), before);
    drop(connect(&again, Service::Users, Service::Users).await?);
    stores.stop().await?;

    // Somebody else takes a port meanwhile: the data stays.
    let taken = TcpListener::bind(("127.0.0.1", again.stores.rabbitmq_port))?;
    let stores = Stores::start(&folder).await?;
    let moved = stores.handle();
    assert_ne!(moved.rabbitmq_port, again.stores.rabbitmq_port);
    let kept = moved
        .rabbitmq_api(reqwest::Method::GET, "vhosts/kept", None)
        .await?;
    assert_eq!(kept["name"], "kept");
    drop(taken);
    stores.stop().await?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

#[tokio::test]
async fn a_killed_server_comes_back_on_the_same_port() -> anyhow::Result<()> {
    let (stores, cluster) = testing::own_stores().await;
    for server in [&stores.postgres, &stores.redis, &stores.rabbitmq] {
        let first = server.pid().await;
        server.kill().await?;
        assert_eq!(server.pid().await, None);
        server.start().await?;
        assert_ne!(server.pid().await, first);
    }
    drop(connect(&cluster, Service::Messages, Service::Messages).await?);
    Ok(())
}

async fn connect(
    cluster: &chat_local::Cluster,
    who: Service,
    database: Service,
) -> sqlx::Result<PgConnection> {
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(cluster.stores.postgres_port)
        .username(&cluster.role(who))
        .password(cluster.password(who))
        .database(&cluster.role(database));
    PgConnection::connect_with(&options).await
}

#[tokio::test]
async fn stores_start_below_a_folder_that_other_users_cannot_enter() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let closed = std::env::temp_dir().join(format!("closed-{}", std::process::id()));
    std::fs::create_dir_all(&closed)?;
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700))?;
    let stores = Stores::prepare(&closed.join("stores")).await?;
    stores.postgres.start().await?;
    stores.postgres.stop().await?;
    std::fs::remove_dir_all(&closed)?;
    Ok(())
}

#[tokio::test]
async fn data_of_another_postgresql_is_one_sentence() -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("old-{}", std::process::id()));
    let data = folder.join("postgres/data");
    std::fs::create_dir_all(&data)?;
    std::fs::write(data.join("PG_VERSION"), "9\n")?;
    let said = match Stores::prepare(&folder).await {
        Ok(_) => panic!("PostgreSQL 9 was taken for ours"),
        Err(error) => error.to_string(),
    };
    assert!(said.contains("was made by PostgreSQL 9, but"), "{said}");
    assert!(
        said.ends_with("or start empty with `cargo xtask up --fresh`."),
        "{said}"
    );
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

#[tokio::test]
async fn damaged_data_is_one_sentence_that_says_what_to_do() -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("damaged-{}", std::process::id()));
    let stores = Stores::prepare(&folder).await?;
    std::fs::remove_file(folder.join("postgres/data/global/pg_control"))?;
    let error = stores
        .postgres
        .start()
        .await
        .expect_err("it has lost its control file");
    let said = error.to_string();
    assert!(
        said.starts_with("PostgreSQL stopped while starting"),
        "{said}"
    );
    assert!(said.contains("pg_control"), "{said}");
    assert!(
        said.ends_with("`cargo xtask up --fresh` starts empty."),
        "{said}"
    );
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
