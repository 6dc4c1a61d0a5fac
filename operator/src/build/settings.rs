//! What each service is told, by environment and by files.

use std::collections::BTreeMap;

use chat_events::{Service, rights};

use super::secret::File;
use super::{login, meta, secret};
use crate::validate::{Login, Part, Validated};

/// Where the files are.
pub const SECRETS: &str = "/etc/chat/secrets";

/// Settings by name: in the open, and in files.
#[derive(Default)]
pub struct Settings {
    pub plain: BTreeMap<String, String>,
    pub files: Vec<File>,
}

/// Everything that `<service> serve` reads.
pub fn serve(chat: &Validated, service: Service) -> Settings {
    let mut settings = Settings::default();
    let mut set = |name: &str, value: String| settings.plain.insert(name.into(), value);
    set("CLUSTER", chat.name.clone());
    set("PUBLIC_ORIGINS", chat.origin.clone());
    if let Some(endpoint) = &chat.otlp_endpoint {
        set("OTLP_ENDPOINT", endpoint.clone());
    }
    let url = |service: Service| format!("http://{}:3000", meta::name(chat, service.name()));
    if service != Service::Auth {
        set("AUTH_URL", url(Service::Auth));
    }
    if service == Service::SocketHandler {
        set("MESSAGES_URL", url(Service::Messages));
        set("USERS_URL", url(Service::Users));
        set("MAX_SOCKETS", chat.max_connections_per_pod.to_string());
    }
    if matches!(service, Service::SocketHandler | Service::Notifications) {
        set("DRAIN_SECONDS", chat.drain_seconds.to_string());
    }
    if let Some(workload) = chat.parts.get(&Part::Service(service)) {
        set("LOG", workload.log_level.clone());
        settings.plain.extend(workload.env.iter().cloned());
    }
    settings.files = secret::files(chat, service);
    database(chat, service, &mut settings);
    broker(chat, service, &mut settings);
    cache(chat, service, &mut settings);
    settings.name_files();
    settings
}

/// Everything that `<service> migrate` reads.
pub fn migrate(chat: &Validated, service: Service) -> Settings {
    let mut settings = Settings {
        plain: BTreeMap::new(),
        files: secret::files(chat, service),
    };
    settings
        .files
        .retain(|file| file.setting == login::DB_PASSWORD);
    database(chat, service, &mut settings);
    settings.name_files();
    settings
}

fn database(chat: &Validated, service: Service, settings: &mut Settings) {
    let Some(login) = login::database(chat, service) else {
        return;
    };
    let usual = rights::role(&chat.name, service);
    settings.add(chat, service, &login, "DB_HOST", "host", &login.host);
    settings.add_user(chat, service, &login, "DB_USER");
    settings
        .plain
        .insert("DB_PORT".into(), login.port.to_string());
    if login.place == usual {
        settings.plain.insert("DB_NAME".into(), usual);
    } else {
        settings.add(chat, service, &login, "DB_NAME", "dbname", &login.place);
    }
}

fn broker(chat: &Validated, service: Service, settings: &mut Settings) {
    let login = login::broker(chat, service);
    settings.add(chat, service, &login, "RMQ_HOST", "host", &login.host);
    settings.add_user(chat, service, &login, "RMQ_USER");
    settings
        .plain
        .insert("RMQ_PORT".into(), login.port.to_string());
    if login.place == "/" {
        settings.plain.insert("RMQ_VHOST".into(), login.place);
    } else {
        settings.add(chat, service, &login, "RMQ_VHOST", "vhost", &login.place);
    }
}

fn cache(chat: &Validated, service: Service, settings: &mut Settings) {
    let Some(login) = login::cache(chat, service) else {
        return;
    };
    let host = format!("{}:{}", login.host, login.port);
    settings.add(chat, service, &login, "REDIS_HOST", "host", &host);
    settings.add_user(chat, service, &login, "REDIS_USER");
}

impl Settings {
    /// What a Secret of somebody else says goes into no ConfigMap: who may write a
    /// ChatCluster need not be allowed to read that Secret.
    fn add(
        &mut self,
        chat: &Validated,
        service: Service,
        login: &Login,
        setting: &'static str,
        key: &str,
        value: &str,
    ) {
        let (secret, _) = &login.password;
        if *secret == meta::name(chat, service.name()) {
            self.plain.insert(setting.into(), value.into());
        } else {
            self.files.push(File {
                setting,
                source: (secret.clone(), key.to_owned()),
                hash: login.content_hash.clone(),
            });
        }
    }

    /// In managed stores the name of the user changes with the password, so that pods
    /// must find both in one place.
    fn add_user(
        &mut self,
        chat: &Validated,
        service: Service,
        login: &Login,
        setting: &'static str,
    ) {
        let used = chat.credentials.passwords.used;
        let (secret, key) = &login.password;
        if *secret == meta::name(chat, service.name()) && *key == login::password_key(used) {
            self.files.push(File {
                setting,
                source: (secret.clone(), login::user_key(used)),
                hash: login.content_hash.clone(),
            });
        } else {
            self.add(chat, service, login, setting, "username", &login.user);
        }
    }

    fn name_files(&mut self) {
        for File { setting, .. } in &self.files {
            let path = format!("{SECRETS}/{setting}");
            self.plain.insert(format!("{setting}_FILE"), path);
        }
    }
}
