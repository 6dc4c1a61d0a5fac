//! A ChatCluster's place in the stores: for each service one database and role,
//! one RabbitMQ user and one Redis user, each with the least rights.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use chat_events::{Service, rights, topology};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::space;
use crate::stores::{StoresHandle, new_password};

/// Where the services of one ChatCluster find their stores.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub name: String,
    pub stores: StoresHandle,
    secrets: Secrets,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Secrets {
    jwt_key: String,
    /// One password per service, the same in all stores.
    passwords: BTreeMap<String, String>,
}

/// Makes what is missing and keeps what is there, passwords included.
pub async fn provision(stores: &StoresHandle, cluster: &str) -> Result<Cluster> {
    provision_databases_of(&Service::ALL, stores, cluster).await
}

/// The same, but with the databases of some services alone: they are what takes
/// the time.
pub(crate) async fn provision_databases_of(
    services: &[Service],
    stores: &StoresHandle,
    cluster: &str,
) -> Result<Cluster> {
    check_name(cluster)?;
    let cluster = Cluster {
        name: cluster.to_owned(),
        stores: stores.clone(),
        secrets: Secrets::read_or_create(stores, cluster)?,
    };
    tokio::try_join!(
        async {
            cluster
                .provision_postgres(services)
                .await
                .context("PostgreSQL")
        },
        async { cluster.provision_rabbitmq().await.context("RabbitMQ") },
        async { cluster.provision_redis().await.context("Redis") },
    )
    .with_context(|| {
        format!(
            "The place of {} in the stores could not be made",
            cluster.name
        )
    })?;
    Ok(cluster)
}

impl Cluster {
    /// The environment of a service, but for where it listens and where the
    /// other services are.
    pub fn env(&self, service: Service) -> Vec<(String, String)> {
        let role = self.role(service);
        let password = self.password(service);
        let mut env = vec![
            ("CLUSTER", self.name.clone()),
            ("RMQ_HOST", "127.0.0.1".into()),
            ("RMQ_PORT", self.stores.rabbitmq_port.to_string()),
            ("RMQ_VHOST", self.name.clone()),
            ("RMQ_USER", role.clone()),
            ("RMQ_PASSWORD", password.to_owned()),
            (
                "REDIS_HOST",
                format!("127.0.0.1:{}", self.stores.redis_port),
            ),
            ("REDIS_USER", role.clone()),
            ("REDIS_PASSWORD", password.to_owned()),
        ];
        if service.has_database() {
            env.extend([
                ("DB_HOST", "127.0.0.1".into()),
                ("DB_PORT", self.stores.postgres_port.to_string()),
                ("DB_USER", role.clone()),
                ("DB_PASSWORD", password.to_owned()),
                ("DB_NAME", role),
            ]);
        }
        if service == Service::Auth {
            env.push(("JWT_KEY", self.secrets.jwt_key.clone()));
        }
        env.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// The name of the service's role, database, RabbitMQ user and Redis user.
    pub fn role(&self, service: Service) -> String {
        rights::role(&self.name, service)
    }

    pub fn password(&self, service: Service) -> &str {
        // `read_or_create` gives every service one.
        &self.secrets.passwords[service.name()]
    }

    /// Removes everything that `provision` made.
    pub async fn remove(&self) -> Result<()> {
        let vhost = format!("vhosts/{}", self.name);
        self.stores
            .rabbitmq_api(Method::DELETE, &vhost, None)
            .await?;
        let mut redis = self.stores.redis().await?;
        let mut admin = PgConnection::connect_with(&self.stores.postgres("postgres")).await?;
        for service in Service::ALL {
            let role = self.role(service);
            let user = format!("users/{role}");
            self.stores
                .rabbitmq_api(Method::DELETE, &user, None)
                .await?;
            redis::cmd("ACL")
                .arg("DELUSER")
                .arg(&role)
                .exec_async(&mut redis)
                .await?;
            if service.has_database() {
                execute(
                    &mut admin,
                    format!("drop database if exists \"{role}\" with (force)"),
                )
                .await?;
                execute(&mut admin, format!("drop role if exists \"{role}\"")).await?;
            }
        }
        std::fs::remove_file(Secrets::file(&self.stores, &self.name))?;
        Ok(())
    }

    async fn provision_postgres(&self, services: &[Service]) -> Result<()> {
        let mut admin = PgConnection::connect_with(&self.stores.postgres("postgres")).await?;
        // One test at a time: two that revoke the same right at once fail.
        execute(
            &mut admin,
            "select pg_advisory_xact_lock(1); \
             revoke connect on database postgres, template1 from public"
                .into(),
        )
        .await?;
        for service in services.iter().copied().filter(|it| it.has_database()) {
            let role = self.role(service);
            let exists: bool =
                sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
                    .bind(&role)
                    .fetch_one(&mut admin)
                    .await?;
            if !exists {
                // The password is letters and digits, the name was checked.
                let password = self.password(service);
                execute(
                    &mut admin,
                    format!("create role \"{role}\" login password '{password}'"),
                )
                .await?;
            }
            let exists: bool =
                sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                    .bind(&role)
                    .fetch_one(&mut admin)
                    .await?;
            if !exists {
                execute(
                    &mut admin,
                    format!("create database \"{role}\" owner \"{role}\""),
                )
                .await?;
            }
            execute(
                &mut admin,
                format!("revoke all on database \"{role}\" from public"),
            )
            .await?;
        }
        admin.close().await?;
        Ok(())
    }

    async fn provision_rabbitmq(&self) -> Result<()> {
        let vhost = &self.name;
        let put = async |path: String, body| {
            self.stores
                .rabbitmq_api(Method::PUT, &path, Some(body))
                .await
        };
        put(format!("vhosts/{vhost}"), json!({})).await?;
        for service in Service::ALL {
            let role = self.role(service);
            let password = self.password(service);
            put(
                format!("users/{role}"),
                json!({ "password": password, "tags": "" }),
            )
            .await?;
            let [configure, write, read] = topology::permissions(service);
            let rights = json!({ "configure": configure, "write": write, "read": read });
            put(format!("permissions/{vhost}/{role}"), rights).await?;
        }
        Ok(())
    }

    async fn provision_redis(&self) -> Result<()> {
        let mut redis = self.stores.redis().await?;
        for service in Service::ALL {
            let mut rules = redis::cmd("ACL");
            rules
                .arg("SETUSER")
                .arg(self.role(service))
                .arg("reset")
                .arg("on");
            rules.arg(format!(">{}", self.password(service)));
            rules.arg(rights::redis_rules(&self.name, service));
            rules.exec_async(&mut redis).await?;
        }
        redis::cmd("ACL").arg("SAVE").exec_async(&mut redis).await?;
        Ok(())
    }
}

impl Secrets {
    fn read_or_create(stores: &StoresHandle, cluster: &str) -> Result<Self> {
        let file = Self::file(stores, cluster);
        if let Ok(content) = std::fs::read(&file) {
            return serde_json::from_slice(&content).with_context(|| {
                format!(
                    "{} is damaged: start empty with `cargo xtask up --fresh`.",
                    file.display()
                )
            });
        }
        let secrets = Self {
            jwt_key: new_password() + &new_password(),
            passwords: Service::ALL
                .into_iter()
                .map(|service| (service.name().to_owned(), new_password()))
                .collect(),
        };
        space::create(&stores.folder.join("clusters"))?;
        space::write_private(&file, serde_json::to_string_pretty(&secrets)?)?;
        Ok(secrets)
    }

    fn file(stores: &StoresHandle, cluster: &str) -> std::path::PathBuf {
        stores
            .folder
            .join("clusters")
            .join(format!("{cluster}.json"))
    }
}

/// A name becomes part of SQL, of paths and of patterns.
fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 40 || !name.chars().all(plain) || name.starts_with('-') {
        bail!("`{name}` is no name for a ChatCluster: use up to 40 of a–z, 0–9 and hyphens.");
    }
    Ok(())
}

async fn execute(admin: &mut PgConnection, sql: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(admin).await?;
    Ok(())
}
