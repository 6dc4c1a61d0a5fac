//! A chat whose passwords all change while people use it: the stages, scripts and
//! Secrets of the operator, with real services and stores.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_e2e::{Chat, Person, Talk};
use chat_events::Service;
use chat_local::StoresHandle;
use chat_operator::build;
use chat_operator::crd::ChatCluster;
use chat_operator::credentials::{Credentials, PasswordStage, Turn};
use chat_operator::render::offline;
use chat_operator::resources::Resources;
use chat_operator::validate::{Defaults, Validated};
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::process::Command;
use tokio::task::JoinHandle;

const RECOVERY: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test]
async fn every_password_changes_under_load_and_no_request_fails_and_no_message_is_lost()
-> Result<()> {
    let (chat, stores) = Chat::own_with(|options| options.replicas = 2).await?;
    let cluster = Operated::new(&chat).await?;
    let talk = Talk::start(&chat).await?;
    let reader = Person::sign_up(&chat.site, "reader").await?;
    let requests = Requests::start(&reader);
    let mut said = 0;
    let mut last = cluster.credentials();
    for (step, request) in (0..10).map(|step| (step, ["one", "two"][step / 5])) {
        let now = Timestamp::from_second(i64::try_from(step)? * 1_000)?;
        last = last.with_new_passwords(Some(request), Some(Duration::ZERO), now)?;
        let resources = cluster.tell(&last).await?;
        match last.passwords.stage {
            PasswordStage::Announced | PasswordStage::Withdrawn => {
                cluster.await_trials(&resources).await?;
            }
            PasswordStage::Swapped => {
                for service in Service::ALL {
                    for pod in [0, 1] {
                        talk.say_unacknowledged(4);
                        chat.pod(service, pod).stop().await?;
                        let login = login(&resources, &cluster.chat, service, &last)?;
                        let login = login
                            .each_ref()
                            .map(|(name, value)| (*name, value.as_str()));
                        chat.pod(service, pod).set_env(&login).await;
                        chat.pod(service, pod).start().await?;
                        said += 4;
                    }
                }
            }
            PasswordStage::Retiring(_) | PasswordStage::Settled => {}
        }
        talk.say_unacknowledged(4);
        said += 4;
    }
    ensure!(last.passwords.used == Turn::First);
    requests.stop().await?;
    talk.finish(said, RECOVERY).await?;
    drop(chat);
    drop(stores);
    Ok(())
}

/// The settings with which pods of this stage log in everywhere, from the Secret that
/// they mount.
fn login(
    resources: &Resources,
    chat: &str,
    service: Service,
    stage: &Credentials,
) -> Result<[(&'static str, String); 6]> {
    let secret = secret(resources, &format!("{chat}-{}", service.name()))?;
    let get = |key: &str| {
        let key = format!("{key}-{}", stage.passwords.used.number());
        let value = secret.data.as_ref().and_then(|data| data.get(&key));
        Ok::<_, anyhow::Error>(String::from_utf8(value.context(key)?.0.clone())?)
    };
    let (user, password) = (get("user")?, get("password")?);
    Ok([
        ("DB_USER", user.clone()),
        ("DB_PASSWORD", password.clone()),
        ("RMQ_USER", user.clone()),
        ("RMQ_PASSWORD", password.clone()),
        ("REDIS_USER", user),
        ("REDIS_PASSWORD", password),
    ])
}

fn secret<'a>(resources: &'a Resources, name: &str) -> Result<&'a Secret> {
    let mut all = resources.secrets.iter();
    all.find(|it| it.name_any() == name)
        .context("no such Secret")
}

/// The stores of a chat that was there before the operator knew of second logins.
struct Operated {
    chat: String,
    stores: StoresHandle,
    validated: Validated,
    folder: PathBuf,
}

impl Drop for Operated {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Operated {
    async fn new(chat: &Chat) -> Result<Self> {
        let (name, stores) = (chat.cluster().name.clone(), chat.cluster().stores.clone());
        let spec = serde_json::from_value(json!({"host": "chat.example.com"}))?;
        let defaults = Defaults {
            version: "1.0.0".into(),
            images: "chatcluster".into(),
            postgres_image: "postgres:17".into(),
            rabbitmq_image: "rabbitmq:4.1".into(),
            redis_image: "redis:7.4".into(),
            allowed_registries: Vec::new(),
        };
        let mut validated = offline(&ChatCluster::new(&name, spec), [].into(), &defaults)?;
        let password = |it: Service| (it.name().to_owned(), chat.cluster().password(it).to_owned());
        validated.credentials = Credentials {
            services: Service::ALL.map(password).into(),
            postgres: stores.password.clone(),
            rabbitmq: stores.password.clone(),
            redis: stores.password.clone(),
            ..Credentials::default()
        };
        // The administrators have other names here.
        let mut admin = PgConnection::connect_with(&stores.postgres("postgres")).await?;
        let sql = format!(
            "create role postgres superuser login password '{}'",
            stores.password
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut admin)
            .await?;
        redis::cmd("ACL")
            .arg(&["SETUSER", "admin", "on", "~*", "&*", "+@all"])
            .arg(format!(">{}", stores.password))
            .exec_async(&mut stores.redis().await?)
            .await?;
        Ok(Self {
            folder: std::env::temp_dir().join(format!("passwords-{name}")),
            chat: name,
            stores,
            validated,
        })
    }

    fn credentials(&self) -> Credentials {
        self.validated.credentials.clone()
    }

    /// Tells all three stores who may log in now.
    async fn tell(&self, credentials: &Credentials) -> Result<Resources> {
        let mut validated = self.validated.clone();
        validated.credentials = credentials.clone();
        let resources = build::build(&validated);
        for part in ["postgres", "rabbitmq", "redis"] {
            let name = format!("{}-{part}", self.chat);
            self.write(&resources, part, &name)?;
            if part != "rabbitmq" {
                let run = self.script(part, part, "logins.sh").output().await?;
                let said = String::from_utf8_lossy(&run.stderr).into_owned();
                ensure!(run.status.success(), "{part}: {said}");
            }
        }
        // What its script does, as the one who may speak to this node.
        let secrets = self.folder.join("rabbitmq/secrets");
        let definitions = secrets.join("definitions.json");
        let definitions = definitions.to_str().context("a path")?;
        let control = ["import_definitions", definitions];
        self.stores.rabbitmqctl(&control).await?;
        let refused = std::fs::read_to_string(secrets.join("refused"))?;
        let refused: Vec<_> = refused.lines().map(|it| format!("<<\"{it}\">>")).collect();
        let refused = refused.join(",");
        let forget = format!(
            "[rabbit_auth_backend_internal:delete_user(User, <<\"test\">>) || User <- [{refused}],
              rabbit_auth_backend_internal:lookup_user(User) =/= {{error, not_found}}]."
        );
        self.stores.rabbitmqctl(&["eval", &forget]).await?;
        Ok(resources)
    }

    /// Runs the Jobs that try logins to their end.
    async fn await_trials(&self, resources: &Resources) -> Result<()> {
        let is_trial = |it: &String| it.contains("-logins-");
        let trials: Vec<_> = resources.jobs.iter().map(ResourceExt::name_any).collect();
        let trials: Vec<_> = trials.into_iter().filter(is_trial).collect();
        ensure!(trials.len() == 3, "{trials:?}");
        try_join_all(trials.iter().map(async |job| {
            let mut parts = ["postgres", "rabbitmq", "redis"].into_iter();
            let part = parts.find(|it| job.contains(&format!("{it}-logins")));
            let part = part.context("a store")?;
            self.write(resources, job, job)?;
            let mut script = self.script(job, part, "check.sh");
            let ended = tokio::time::timeout(PATIENCE, script.output()).await;
            let ended = ended.with_context(|| format!("{part} does not agree"))??;
            ensure!(ended.status.success(), "{part}: {ended:?}");
            Ok(())
        }))
        .await?;
        Ok(())
    }

    /// The files of a Secret, and the scripts that belong to it.
    fn write(&self, resources: &Resources, folder: &str, name: &str) -> Result<()> {
        let secrets = self.folder.join(folder).join("secrets");
        let _ = std::fs::remove_dir_all(&secrets);
        std::fs::create_dir_all(&secrets)?;
        for (file, content) in secret(resources, name)?.data.iter().flatten() {
            let text = String::from_utf8(content.0.clone())?;
            // Here, nobody is the administrator.
            let lines = text.split_inclusive('\n');
            let lines = lines.filter(|line| !line.starts_with("user default "));
            std::fs::write(secrets.join(file), lines.collect::<String>())?;
        }
        let is_it = |it: &&ConfigMap| it.name_any() == name;
        for (file, content) in resources
            .config_maps
            .iter()
            .find(is_it)
            .and_then(|it| it.data.as_ref())
            .into_iter()
            .flatten()
        {
            let config = self.folder.join(folder).join("config");
            std::fs::create_dir_all(&config)?;
            std::fs::write(config.join(file), content)?;
        }
        Ok(())
    }

    /// A script of a store, with the Secret that is in `folder`.
    fn script(&self, folder: &str, part: &str, script: &str) -> Command {
        let config = self.folder.join(part).join("config");
        let port = match part {
            "postgres" => self.stores.postgres_port,
            "rabbitmq" => self.stores.rabbitmq_port,
            _ => self.stores.redis_port,
        };
        let mut command = Command::new("/bin/sh");
        let with_database = Service::ALL.into_iter().filter(|it| it.has_database());
        let services: Vec<_> = with_database.map(Service::name).collect();
        command
            .arg(config.join(script))
            .env("CONFIG", config)
            .env("SECRETS", self.folder.join(folder).join("secrets"))
            .env("CHAT", &self.chat)
            .env("SERVICES", services.join(" "))
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", port.to_string())
            .env("PORT", port.to_string())
            .env("STORE_HOST", "127.0.0.1")
            .env("STORE_PORT", port.to_string())
            .kill_on_drop(true);
        command
    }
}

/// Somebody who asks every service for something again and again.
struct Requests {
    over: Arc<AtomicBool>,
    task: JoinHandle<(usize, Vec<String>)>,
}

impl Requests {
    fn start(person: &Person) -> Self {
        let over = Arc::<AtomicBool>::default();
        let (person, until) = (person.clone(), over.clone());
        let task = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            let (mut count, mut failed) = (0, Vec::new());
            let paths = [
                "/api/auth/currentuser",
                "/api/users",
                "/api/conversations",
                "/api/notifications",
            ];
            for path in paths.into_iter().cycle() {
                if until.load(Ordering::Relaxed) {
                    break;
                }
                pace.tick().await;
                count += 1;
                match person.get(path).await {
                    Ok(answer) if answer.status == 200 => {}
                    Ok(answer) => failed.push(format!(
                        "{} {path}: {} {:?}",
                        Timestamp::now(),
                        answer.status,
                        answer.body
                    )),
                    Err(error) => failed.push(format!("{path}: {error:#}")),
                }
            }
            (count, failed)
        });
        Self { over, task }
    }

    async fn stop(self) -> Result<()> {
        self.over.store(true, Ordering::Relaxed);
        let (count, failed) = self.task.await?;
        ensure!(failed.is_empty(), "of {count} requests failed: {failed:?}");
        ensure!(count > 500, "only {count} requests");
        Ok(())
    }
}
