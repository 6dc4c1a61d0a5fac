//! What the servers were asked to do: counts that no busy machine can change.

use std::collections::BTreeMap;

use anyhow::Context;
use chat_events::Service;
use chat_kit::metrics as names;
use chat_local::Stores;
use sqlx::{Connection, PgConnection};

use crate::Chat;

/// Counts by name, since the servers started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters(pub BTreeMap<String, f64>);

impl Counters {
    /// Lets PostgreSQL count statements, which takes a restart.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn prepare(stores: &Stores) -> anyhow::Result<()> {
        let admin = stores.handle().postgres("postgres");
        let mut database = PgConnection::connect_with(&admin).await?;
        sqlx::query("alter system set shared_preload_libraries = 'pg_stat_statements'")
            .execute(&mut database)
            .await?;
        database.close().await?;
        stores.postgres.stop().await?;
        stores.postgres.start().await?;
        let mut database = PgConnection::connect_with(&admin).await?;
        sqlx::query("create extension if not exists pg_stat_statements")
            .execute(&mut database)
            .await?;
        Ok(())
    }

    /// # Errors
    /// When a server does not tell.
    pub async fn read(chat: &Chat, stores: &Stores) -> anyhow::Result<Self> {
        let mut counters = Self::default();
        counters.postgres(chat, stores).await?;
        counters.rabbitmq(stores).await?;
        counters.redis(stores).await?;
        counters.sockets(chat).await?;
        Ok(counters)
    }

    /// What came since, for each thousand of `units`. What did not happen is left out.
    pub fn since(&self, before: &Self, units: f64) -> BTreeMap<String, f64> {
        let mut since = BTreeMap::new();
        for (name, now) in &self.0 {
            let more = now - before.0.get(name).copied().unwrap_or_default();
            if more > 0.0 {
                since.insert(name.clone(), more * 1_000.0 / units);
            }
        }
        since
    }

    /// The statements that took longest since the servers started: milliseconds, how
    /// often, and the beginning of the text.
    ///
    /// # Errors
    /// When PostgreSQL does not tell.
    pub async fn slowest(stores: &Stores) -> anyhow::Result<Vec<(f64, i64, String)>> {
        let admin = stores.handle().postgres("postgres");
        let mut database = PgConnection::connect_with(&admin).await?;
        let slowest = sqlx::query_as(
            "select total_exec_time + total_plan_time, calls,
                    left(regexp_replace(query, '\\s+', ' ', 'g'), 100)
             from pg_stat_statements order by 1 desc limit 12",
        )
        .fetch_all(&mut database)
        .await?;
        Ok(slowest)
    }

    async fn postgres(&mut self, chat: &Chat, stores: &Stores) -> anyhow::Result<()> {
        let admin = stores.handle().postgres("postgres");
        let mut database = PgConnection::connect_with(&admin).await?;
        for service in Service::ALL.into_iter().filter(|it| it.has_database()) {
            let counts: (f64, f64, f64, f64) = sqlx::query_as(
                "select coalesce(sum(calls) filter (where query !~* '^(begin|commit|rollback|set|show)'), 0)::float8,
                        coalesce(sum(calls) filter (where query ~* '^commit'), 0)::float8,
                        coalesce(sum(wal_bytes), 0)::float8,
                        coalesce(sum(shared_blks_hit + shared_blks_read), 0)::float8
                 from pg_stat_statements s join pg_database d on d.oid = s.dbid where d.datname = $1",
            )
            .bind(chat.cluster().role(service))
            .fetch_one(&mut database)
            .await?;
            let name = service.name();
            self.add(format!("sql statements, {name}"), counts.0);
            self.add(format!("commits, {name}"), counts.1);
            self.add(format!("bytes of WAL, {name}"), counts.2);
            self.add(format!("blocks looked at, {name}"), counts.3);
        }
        Ok(())
    }

    async fn rabbitmq(&mut self, stores: &Stores) -> anyhow::Result<()> {
        let overview = ["eval", "rabbit_global_counters:overview()."];
        let printed = stores.handle().rabbitmqctl(&overview).await?;
        for (counter, name) in [
            ("messages_received_total", "AMQP publishes"),
            (
                "messages_delivered_consume_manual_ack_total",
                "AMQP deliveries to acknowledge",
            ),
            (
                "messages_delivered_consume_auto_ack_total",
                "AMQP deliveries to pods",
            ),
            ("messages_acknowledged_total", "AMQP messages acknowledged"),
            (
                "messages_redelivered_total",
                "AMQP messages delivered again",
            ),
        ] {
            let count = sum_of(&printed, counter).with_context(|| counter.to_owned())?;
            self.add(name.to_owned(), count);
        }
        Ok(())
    }

    async fn redis(&mut self, stores: &Stores) -> anyhow::Result<()> {
        let mut redis = stores.handle().redis().await?;
        let info: String = redis::cmd("INFO")
            .arg("commandstats")
            .query_async(&mut redis)
            .await?;
        let mut all = 0.0;
        for line in info.lines() {
            let Some((command, rest)) = line
                .strip_prefix("cmdstat_")
                .and_then(|line| line.split_once(":calls="))
            else {
                continue;
            };
            let calls = rest.split(',').next().unwrap_or_default();
            // Ours.
            if command != "info" {
                all += calls.parse::<f64>()?;
            }
        }
        self.add("Redis commands".to_owned(), all);
        Ok(())
    }

    /// Of the pods that live.
    async fn sockets(&mut self, chat: &Chat) -> anyhow::Result<()> {
        let (mut writes, mut bytes) = (0.0, 0.0);
        for pod in chat.pods() {
            let place = pod.place();
            if place.service == Service::SocketHandler && pod.pid().await.is_some() {
                let (service, number) = (place.service, place.replica);
                let public = |name| format!("{name}{{port=\"public\"}}");
                writes += chat.metric(service, number, &public(names::WRITES)).await?;
                bytes += chat
                    .metric(service, number, &public(names::WRITTEN))
                    .await?;
            }
        }
        self.add("writes to sockets".to_owned(), writes);
        self.add("bytes to sockets".to_owned(), bytes);
        Ok(())
    }

    fn add(&mut self, name: String, count: f64) {
        self.0.insert(name, count);
    }
}

/// Of `name => 12` wherever it stands in a printed term of Erlang.
fn sum_of(term: &str, name: &str) -> Option<f64> {
    let mut found = None;
    for (place, _) in term.match_indices(name) {
        let rest = term[place + name.len()..].trim_start();
        let Some(value) = rest.strip_prefix("=>") else {
            continue;
        };
        let digits: String = value
            .trim_start()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        *found.get_or_insert(0.0) += digits.parse::<f64>().ok()?;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::sum_of;

    #[test]
    fn counts_of_all_kinds_of_queues_are_added() {
        let term = "#{[{protocol,amqp091}] => #{received => 3,other_received => 9},
            [{protocol,amqp091},{queue_type,x}] =>\n #{received =>\n 4}}";
        assert_eq!(sum_of(term, "received"), Some(16.0));
        assert_eq!(sum_of(term, "[{protocol,amqp091}]"), None);
        assert_eq!(sum_of(term, "sent"), None);
    }
}
