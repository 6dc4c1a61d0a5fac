//! What the stores of a chat keep, and from whom.

use anyhow::{Context, Result, bail, ensure};
use chat_e2e::{Backstage, ChatSocket, await_until};
use chat_events::Service;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use lapin::{Connection, ConnectionProperties};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use super::harness::{ClusterChat, Login, PATIENCE, in_cluster};
use super::load::{Disturbed, replicas};

#[test]
fn long_a_node_of_three_of_rabbitmq_dies_under_load_and_nothing_is_lost() -> Result<()> {
    in_cluster(async |cluster| {
        let mut spec = replicas(2);
        spec["rabbitmq"] = json!({"managed": {"replicas": 3}});
        let mut run = Disturbed::start(cluster, "three", spec).await?;
        for number in [1, 0] {
            let name = format!("demo-rabbitmq-{number}");
            let pod = run.chat.api::<Pod>().get(&name).await?;
            let at_once = DeleteParams::default().grace_period(0);
            run.lose(&pod, &at_once).await?;
        }
        run.judge().await
    })
}

#[test]
fn every_message_is_there_after_all_pods_are_killed_at_once() -> Result<()> {
    in_cluster(async |cluster| {
        let chat = ClusterChat::start(cluster, "killed", json!({})).await?;
        let (ada, _, conversation) = chat.two_people().await?;
        let mut socket = ChatSocket::open(&ada).await?;
        for number in 0..50 {
            let sent = socket.say(conversation, &number.to_string()).await?;
            socket.await_stored(sent).await?;
        }
        let pods = chat.api::<Pod>();
        let at_once = DeleteParams::default().grace_period(0);
        pods.delete_collection(&at_once, &ListParams::default())
            .await?;
        let texts = await_until("the whole history", PATIENCE, async || {
            let texts = ada.texts(conversation).await?;
            ensure!(texts.len() == 50, "{} messages", texts.len());
            Ok(Some(texts))
        })
        .await?;
        ensure!(texts == (0..50).map(|it| it.to_string()).collect::<Vec<_>>());
        chat.remove().await
    })
}

#[test]
fn long_a_login_opens_nothing_that_belongs_to_another_service_or_chat() -> Result<()> {
    in_cluster(async |cluster| {
        let chat = ClusterChat::start(cluster.clone(), "logins", json!({})).await?;
        let other = chat.beside("other").await?;
        other.apply(json!({})).await?;
        other.await_ready().await?;
        for service in Service::ALL {
            let login = chat.login(service).await?;
            for foreign in Service::ALL.into_iter().filter(|it| it.has_database()) {
                let own = foreign == service;
                ensure!(
                    opens_database(&chat, &login, foreign).await? == own,
                    "{service:?} and the database of {foreign:?}"
                );
                ensure!(
                    !opens_database(&other, &login, foreign).await?,
                    "{service:?} and the other chat's database of {foreign:?}"
                );
            }
            ensure!(opens_broker(&chat, &login).await?, "{service:?}");
            ensure!(
                !opens_broker(&other, &login).await?,
                "{service:?} and the other chat's broker"
            );
            if let Some(mut redis) = chat.redis_as(&login).await? {
                let foreign = format!("{}:no-service:key", chat.name());
                let read: redis::RedisResult<Option<String>> =
                    redis::cmd("GET").arg(foreign).query_async(&mut redis).await;
                let refused = read.err().context("somebody else's key was read")?;
                ensure!(refused.to_string().contains("permission"), "{refused}");
            }
            ensure!(
                other.redis_as(&login).await?.is_none(),
                "{service:?} and the other chat's Redis"
            );
        }
        chat.remove().await
    })
}

async fn opens_database(chat: &ClusterChat, login: &Login, service: Service) -> Result<bool> {
    let options = chat.postgres_as(login, service).await?;
    match PgConnection::connect_with(&options).await {
        Ok(connection) => connection.close().await.map(|()| true).map_err(Into::into),
        Err(sqlx::Error::Database(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn opens_broker(chat: &ClusterChat, login: &Login) -> Result<bool> {
    let url = chat.broker_as(login).await?;
    match Connection::connect(&url, ConnectionProperties::default()).await {
        Ok(connection) => {
            connection.close(200, "done".into()).await?;
            Ok(true)
        }
        Err(error) if error.to_string().contains("ACCESS") => Ok(false),
        Err(error) => bail!("{error}"),
    }
}
