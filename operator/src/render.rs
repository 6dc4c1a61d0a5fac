//! `operator render`: every object of a ChatCluster, without a cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::Resource;
use serde::Serialize;
use serde_json::Value;

use crate::build::{build, migration};
use crate::crd::{ChatCluster, MigrationResult};
use crate::credentials::Credentials;
use crate::facts::{Api, Delegated, Facts};
use crate::resources::Resources;
use crate::validate::{Defaults, Validated, validate};
use crate::yaml;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file with one ChatCluster; Secrets in it are taken for those of the cluster.
    #[arg(short, long)]
    file: PathBuf,
    /// A file with more Secrets.
    #[arg(long)]
    secrets: Option<PathBuf>,
    #[command(flatten)]
    defaults: Defaults,
}

/// The objects as YAML documents, always in the same order and with the same
/// bytes. Passwords are placeholders, and migrations are taken as done.
///
/// # Errors
/// When a file cannot be read, or the ChatCluster cannot be built.
pub fn run(args: &Args) -> Result<String> {
    let mut documents = read(&args.file)?;
    if let Some(file) = &args.secrets {
        documents.extend(read(file)?);
    }
    let (chat, secrets) = sort(documents)?;
    let validated = offline(&chat, secrets, &args.defaults)?;
    print(build(&validated))
}

/// The ChatCluster, and the data of the Secrets beside it, of a manifest.
pub fn sort(documents: Vec<Value>) -> Result<(ChatCluster, BTreeMap<String, Data>)> {
    let mut chats = Vec::new();
    let mut secrets = BTreeMap::new();
    for document in documents {
        match document.get("kind").and_then(Value::as_str) {
            Some("ChatCluster") => chats.push(serde_json::from_value(document)?),
            Some("Secret") => {
                let secret: Secret = serde_json::from_value(document)?;
                secrets.insert(
                    secret.metadata.name.clone().unwrap_or_default(),
                    data(secret),
                );
            }
            _ => {}
        }
    }
    let mut chats: Vec<ChatCluster> = chats;
    match (chats.pop(), chats.is_empty()) {
        (Some(chat), true) => Ok((chat, secrets)),
        (None, _) => bail!("there is no ChatCluster"),
        (Some(_), false) => bail!("there is more than one ChatCluster"),
    }
}

/// Validates against a cluster in which everything is there and ready.
pub fn offline(
    chat: &ChatCluster,
    secrets: BTreeMap<String, Data>,
    defaults: &Defaults,
) -> Result<Validated> {
    let mut chat = chat.clone();
    chat.meta_mut().namespace.get_or_insert("default".into());
    chat.meta_mut()
        .uid
        .get_or_insert("00000000-0000-0000-0000-000000000000".into());
    let mut facts = facts(secrets);
    let first = validate(&chat, &facts, defaults)?;
    facts.migrations = chat_events::Service::ALL
        .map(|service| (migration::name(&first, service), MigrationResult::Succeeded))
        .into();
    Ok(validate(&chat, &facts, defaults)?)
}

fn facts(secrets: BTreeMap<String, Data>) -> Facts {
    let ready = || Delegated {
        ready: true,
        ..Delegated::default()
    };
    Facts {
        secrets,
        credentials: placeholders(),
        apis: [
            Api::CloudNativePg,
            Api::RabbitmqCluster,
            Api::Keda,
            Api::HttpRoute,
            Api::CertManager,
            Api::ServiceMonitor,
        ]
        .into(),
        migrations: BTreeMap::new(),
        delegated: [("postgres", ready()), ("rabbitmq", ready())].into(),
    }
}

/// Not one of them would be taken for a password.
fn placeholders() -> Credentials {
    let placeholder = |name: &str| format!("placeholder-of-{name}");
    Credentials {
        services: chat_events::Service::ALL
            .map(|service| (service.name().to_owned(), placeholder(service.name())))
            .into(),
        postgres: placeholder("postgres"),
        rabbitmq: placeholder("rabbitmq"),
        erlang_cookie: placeholder("erlang-cookie"),
        redis: placeholder("redis"),
        jwt_key: placeholder("jwt-key-of-32-bytes-or-more"),
        ..Credentials::default()
    }
}

type Data = BTreeMap<String, Vec<u8>>;

fn data(secret: Secret) -> Data {
    let text = secret.string_data.unwrap_or_default();
    let bytes = secret.data.unwrap_or_default();
    bytes
        .into_iter()
        .map(|(key, value)| (key, value.0))
        .chain(
            text.into_iter()
                .map(|(key, value)| (key, value.into_bytes())),
        )
        .collect()
}

/// All documents of a YAML file.
pub fn read(file: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    parse(&text).with_context(|| file.display().to_string())
}

pub fn parse(text: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(text)?)
}

/// Kind after kind, in the order in which they are applied.
pub fn print(resources: Resources) -> Result<String> {
    let Resources {
        service_accounts,
        secrets,
        config_maps,
        network_policies,
        services,
        stateful_sets,
        jobs,
        deployments,
        pod_disruption_budgets,
        autoscalers,
        ingresses,
        foreign,
        held: _,
    } = resources;
    let mut out = String::new();
    add(&mut out, &service_accounts)?;
    add(&mut out, &secrets)?;
    add(&mut out, &config_maps)?;
    add(&mut out, &network_policies)?;
    add(&mut out, &services)?;
    add(&mut out, &stateful_sets)?;
    add(&mut out, &jobs)?;
    add(&mut out, &deployments)?;
    add(&mut out, &pod_disruption_budgets)?;
    add(&mut out, &autoscalers)?;
    add(&mut out, &ingresses)?;
    add(&mut out, &foreign)?;
    Ok(out)
}

fn add(out: &mut String, objects: &[impl Serialize]) -> Result<()> {
    for object in objects {
        out.push_str("---\n");
        out.push_str(&yaml::to_string(object)?);
    }
    Ok(())
}
