//! PostgreSQL dies, is cut off, is used up, is full, or comes back from the past.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chat_e2e::proxy::{Faults, Proxy, Way};
use chat_e2e::{Backstage, Chat, ChatClient, await_until};
use chat_events::Service;
use chat_local::stack::programs_beside_tests;
use chat_local::testing::{cluster, own_stores_on_small_disk};
use chat_local::{Supervisor, programs};
use futures::future::{join_all, try_join_all};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::recorded::{RECOVERY, Recorded, SOON, figure};

/// Every service reaches its database through the proxy only.
async fn apart() -> anyhow::Result<(Chat, Proxy)> {
    let cluster = cluster().await;
    let link = Proxy::start(cluster.stores.postgres_port).await?;
    let port = link.port().to_string();
    let chat = Chat::start(cluster, |options| {
        options.env.push(("DB_PORT".into(), port));
    })
    .await?;
    Ok((chat, link))
}

#[tokio::test]
async fn killed_with_all_its_processes_it_loses_nothing() -> anyhow::Result<()> {
    let (chat, stores) = Chat::own().await?;
    let talk = Recorded::start(chat, 4).await?;
    for _ in 0..3 {
        talk.say(4);
        talk.breaks("PostgreSQL");
        stores.postgres.kill().await?;
        talk.say(2);
        let begun = Instant::now();
        stores.postgres.start().await?;
        figure("start of PostgreSQL to its first answer", begun);
        talk.heals("PostgreSQL");
        talk.settled().await?;
        figure("start of PostgreSQL to everything stored", begun);
    }
    talk.finish().await?;
    drop(stores);
    Ok(())
}

#[tokio::test]
async fn cut_off_in_the_middle_of_statements_and_commits_it_tells_no_lie() -> anyhow::Result<()> {
    let (chat, link) = apart().await?;
    let talk = Recorded::start(chat, 4).await?;
    let ada = &talk.clients[0].person;
    let mut users = talk.chat.database(Service::Users).await?;
    let mut unknown = 0;
    for round in 0..12 {
        talk.say(2);
        talk.breaks("the way to PostgreSQL");
        // Somewhere in what is asked, or somewhere in what is answered, the answer to
        // the commit among it.
        let way = [Way::ToServer, Way::ToClient][round % 2];
        link.set(Faults::cut(way, 60 * round));
        let name = format!("name {round}");
        let answer = ada
            .patch("/api/users/me", &json!({ "display_name": name }))
            .await?;
        link.heal();
        talk.heals("the way to PostgreSQL");
        match answer.status {
            200 => {
                let stored: String =
                    sqlx::query_scalar("select display_name from users where id = $1")
                        .bind(ada.id.0)
                        .fetch_one(&mut users)
                        .await?;
                ensure!(stored == name, "200, and the name is {stored}");
            }
            503 => unknown += 1,
            _ => anyhow::bail!("{answer}"),
        }
        talk.settled().await?;
    }
    eprintln!("figure: {unknown} of 12 were answered with 503");
    ensure!(unknown > 0, "no cut was met");
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn with_no_connection_left_a_request_is_told_so_and_it_heals() -> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let talk = Recorded::start(chat, 4).await?;
    let stores = &talk.chat.cluster().stores;
    let mut admin = PgConnection::connect_with(&stores.postgres("postgres")).await?;
    let role = talk.chat.cluster().role(Service::Messages);
    let ada = &talk.clients[0].person;
    let path = format!("/api/messages?conversation={}", talk.conversations[0]);
    talk.breaks("connections of messages");
    limit(&mut admin, &role, 0).await?;
    talk.say(3);
    talk.accepted().await?;
    let begun = Instant::now();
    let answers = try_join_all((0..30).map(|_| ada.get(&path))).await?;
    figure("30 requests without a connection", begun);
    for answer in answers {
        answer.expect_problem(503, "unavailable")?;
    }
    limit(&mut admin, &role, -1).await?;
    talk.heals("connections of messages");
    talk.settled().await?;
    talk.finish().await?;
    Ok(())
}

/// So many connections of a role; those that are open end.
async fn limit(admin: &mut PgConnection, role: &str, count: i32) -> anyhow::Result<()> {
    let sql = format!("alter role \"{role}\" connection limit {count}");
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut *admin)
        .await?;
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where usename = $1")
        .bind(role)
        .execute(admin)
        .await?;
    Ok(())
}

#[tokio::test]
async fn behind_a_long_lock_a_request_is_told_so_and_the_sends_wait() -> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let talk = Recorded::start(chat, 4).await?;
    let ada = &talk.clients[0].person;
    let mut holder = talk.chat.database(Service::Messages).await?;
    talk.breaks("the table of messages");
    let mut lock = holder.begin().await?;
    sqlx::query("lock table messages in access exclusive mode")
        .execute(&mut *lock)
        .await?;
    talk.say(3);
    talk.accepted().await?;
    let begun = Instant::now();
    let path = format!("/api/messages?conversation={}", talk.conversations[0]);
    ada.get(&path).await?.expect_problem(503, "unavailable")?;
    figure("a request behind a lock to its 503", begun);
    lock.rollback().await?;
    talk.heals("the table of messages");
    talk.settled().await?;
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn requests_that_are_given_up_leave_no_connection_behind() -> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let (ada, _, conversation) = chat.two_people().await?;
    let path = format!("/api/messages?conversation={conversation}");
    let given_up = (0..1_000_u64).map(|number| {
        let (ada, path) = (&ada, &path);
        async move {
            // At any point of their way.
            let patience = Duration::from_millis(number % 50);
            tokio::time::sleep(Duration::from_millis(number)).await;
            tokio::time::timeout(patience, ada.get(path)).await.is_err()
        }
    });
    let count = join_all(given_up)
        .await
        .into_iter()
        .filter(|up| *up)
        .count();
    eprintln!("figure: {count} of 1000 requests were given up");
    ensure!(count > 100);
    for answer in try_join_all((0..20).map(|_| ada.get(&path))).await? {
        answer.expect(200)?;
    }
    let role = chat.cluster().role(Service::Messages);
    let mut admin = PgConnection::connect_with(&chat.cluster().stores.postgres("postgres")).await?;
    // Between two statements of somebody's transaction, one is seen in it as well.
    await_until("nobody in a transaction", SOON, async || {
        let (open, busy): (i64, i64) = sqlx::query_as(
            "select count(*), count(*) filter (where state like 'idle in transaction%')
             from pg_stat_activity where usename = $1",
        )
        .bind(&role)
        .fetch_one(&mut admin)
        .await?;
        // The pool, and the one for the leases.
        ensure!(
            open <= 11 && busy == 0,
            "{open} connections, {busy} in a transaction"
        );
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn restored_from_an_older_backup_it_has_another_epoch_and_everybody_starts_anew()
-> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let clients = [&ada, &ben].map(ChatClient::start);
    let both_see = async |count: usize| {
        for client in &clients {
            client.await_outbox_empty(RECOVERY).await?;
            client.await_texts(conversation, count, RECOVERY).await?;
        }
        anyhow::Ok(())
    };
    for number in 0..5 {
        clients[0].send(conversation, &format!("kept {number}"));
    }
    both_see(5).await?;
    let backup = dump(&chat, Service::Messages).await?;
    for number in 0..5 {
        clients[0].send(conversation, &format!("forgotten {number}"));
    }
    both_see(10).await?;
    let epoch = clients[1].state().epoch.clone().context("no epoch")?;

    chat.pod(Service::Messages, 0).stop().await?;
    restore(&chat, Service::Messages, &backup).await?;
    chat.pod(Service::Messages, 0).start().await?;
    // Numbers that were used before come to mean something else.
    clients[1].send(conversation, "after it");
    await_until("a view of the restored log", 2 * RECOVERY, async || {
        let expected = ada.texts(conversation).await?;
        let same = clients
            .iter()
            .all(|client| client.texts(conversation) == expected);
        Ok((expected.len() == 6 && same).then_some(()))
    })
    .await?;
    for client in &clients {
        let state = client.state();
        ensure!(
            state.epoch.as_ref() != Some(&epoch),
            "the epoch is the same"
        );
        ensure!(state.violations().is_empty(), "{:?}", state.violations());
    }
    for client in clients {
        client.stop().await?;
    }
    Ok(())
}

fn tool(chat: &Chat, name: &str, service: Service) -> anyhow::Result<Command> {
    let postgres = programs::need("postgres", "postgresql")?;
    let stores = &chat.cluster().stores;
    let mut command = Command::new(programs::beside(&postgres, name));
    command
        .env("PGPASSWORD", &stores.password)
        .arg("--host=127.0.0.1")
        .arg(format!("--port={}", stores.postgres_port))
        .arg(format!("--username={}", chat_local::ADMIN))
        .arg(format!("--dbname={}", chat.cluster().role(service)))
        .stdin(Stdio::piped());
    Ok(command)
}

async fn dump(chat: &Chat, service: Service) -> anyhow::Result<Vec<u8>> {
    let output = tool(chat, "pg_dump", service)?
        .arg("--format=custom")
        .output()
        .await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "pg_dump: {errors}");
    Ok(output.stdout)
}

/// A new database with what the backup has.
async fn restore(chat: &Chat, service: Service, backup: &[u8]) -> anyhow::Result<()> {
    let (stores, role) = (&chat.cluster().stores, chat.cluster().role(service));
    let mut admin = PgConnection::connect_with(&stores.postgres("postgres")).await?;
    for sql in [
        format!("drop database \"{role}\" with (force)"),
        format!("create database \"{role}\" owner \"{role}\""),
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut admin)
            .await?;
    }
    let mut child = tool(chat, "pg_restore", service)?.spawn()?;
    let mut input = child.stdin.take().context("no input")?;
    tokio::io::AsyncWriteExt::write_all(&mut input, backup).await?;
    drop(input);
    ensure!(child.wait().await?.success(), "pg_restore");
    Ok(())
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_told_stored_and_space_is_all_it_takes() -> anyhow::Result<()> {
    let (stores, cluster) = own_stores_on_small_disk("postgres", 320).await;
    let chat = Chat::start(cluster, |_| {}).await?;
    // Without space it may end, and then be started again for as long as it takes.
    let mut keeper = Supervisor::default();
    keeper.watch(&stores.postgres);
    let talk = Recorded::start(chat, 4).await?;
    talk.say(3);
    talk.settled().await?;
    talk.breaks("the disk");
    let ballast = stores.fill()?;
    await_until("the first error of a full disk", RECOVERY, async || {
        // Large enough that the database soon needs another page.
        talk.say_large(1);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let log = tokio::fs::read_to_string(stores.postgres.log()).await?;
        Ok(log.contains("No space left on device").then_some(()))
    })
    .await?;
    talk.say(2);
    // Whatever was told to be safe is judged in the end.
    drop(ballast);
    talk.heals("the disk");
    let freed = Instant::now();
    talk.settled().await?;
    figure("space to everything stored", freed);
    talk.finish().await?;
    keeper.stop().await;
    drop(stores);
    Ok(())
}

#[tokio::test]
async fn a_migration_waits_for_a_database_that_is_not_there_yet() -> anyhow::Result<()> {
    let cluster = cluster().await;
    let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut migration = Command::new(programs_beside_tests()?.join(Service::Auth.name()))
        .arg("migrate")
        .envs(cluster.env(Service::Auth))
        .env("DB_PORT", door.local_addr()?.port().to_string())
        .kill_on_drop(true)
        .spawn()?;
    for _ in 0..3 {
        drop(door.accept().await?);
    }
    let (mut knocks, _) = door.accept().await?;
    let mut database =
        TcpStream::connect((Ipv4Addr::LOCALHOST, cluster.stores.postgres_port)).await?;
    // Either side may end it without a word.
    let _ = copy_bidirectional(&mut knocks, &mut database).await;
    ensure!(migration.wait().await?.success());
    Ok(())
}
