//! The passwords and keys of one ChatCluster: made once, kept in Secrets, and
//! never changed unless somebody asks.

mod passwords;
mod rotation;

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Context;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use chat_events::Service;

pub use passwords::{Passwords, ROTATE_PASSWORDS, Stage as PasswordStage, Turn};
pub use rotation::{ROTATE, Rotation, Stage, Wish};

/// The data of a Secret.
pub type Data = BTreeMap<String, Vec<u8>>;

/// An object's annotations.
type Annotations = BTreeMap<String, String>;

/// The keys of the Secret `<chat>-jwt`, and of one that a user brings.
pub const JWT_KEY: &str = "JWT_KEY";
pub const JWT_KEY_PREVIOUS: &str = "JWT_KEY_PREVIOUS";

/// Letters and digits need no quoting anywhere, and 43 of them hold 256 bits.
const LENGTH: usize = 43;
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Made once and kept in Secrets; nothing here is ever printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// By service name, the password that it has in delegated stores, where it never
    /// changes, and had at first in managed ones.
    pub services: BTreeMap<String, String>,
    /// Those in managed stores, the same in all three.
    pub passwords: Passwords,
    /// The superuser of a managed PostgreSQL.
    pub postgres: String,
    /// The administrator of a managed RabbitMQ.
    pub rabbitmq: String,
    /// What RabbitMQ's nodes know each other by.
    pub erlang_cookie: String,
    /// The administrator of a managed Redis.
    pub redis: String,
    pub jwt_key: String,
    /// Accepted, and not used to sign, while a key changes.
    pub jwt_key_previous: Option<String>,
    /// How far that change is.
    pub rotation: Rotation,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials { .. }")
    }
}

impl Credentials {
    /// What the Secrets `<chat>-credentials` and `<chat>-jwt` hold, with their
    /// annotations. What they do not hold is made, so that what this returns is
    /// complete, and what is there stays as it is. The very first key of access tokens
    /// is the one that the user's Secret gives; a later one comes by [`Self::rotated`].
    ///
    /// Without the first Secret, what pods work with is taken from the Secrets that they
    /// mount, by part, so that no pod is locked out; then passwords begin to change, which
    /// is the answer to a `request` that there is as well.
    pub fn read_or_make(
        own: Option<(&Data, &Annotations)>,
        jwt: Option<(&Data, &Annotations)>,
        given: Option<&str>,
        mounted: &BTreeMap<&'static str, Data>,
        request: Option<&str>,
    ) -> anyhow::Result<Self> {
        let mut all = match own {
            Some((data, annotations)) => Self::parse(data, annotations),
            None => Self::restore(mounted),
        };
        if let Some((data, annotations)) = jwt {
            all.jwt_key = text(data, JWT_KEY).unwrap_or_default();
            all.jwt_key_previous = text(data, JWT_KEY_PREVIOUS);
            all.rotation = Rotation::read(annotations);
        }
        if let Some(given) = given.filter(|_| all.jwt_key.is_empty()) {
            given.clone_into(&mut all.jwt_key);
        }
        all.complete()?;
        if own.is_none() && !mounted.is_empty() {
            all.distrust_passwords(request)?;
        }
        Ok(all)
    }

    /// The password of a service in delegated stores.
    pub fn of(&self, service: Service) -> &str {
        self.services.get(service.name()).map_or("", String::as_str)
    }

    /// The content of the Secret `<chat>-credentials`.
    pub fn own_data(&self) -> BTreeMap<String, &str> {
        let services = self
            .services
            .iter()
            .map(|(name, password)| (name.clone(), password.as_str()));
        [
            ("postgres", self.postgres.as_str()),
            ("rabbitmq", &self.rabbitmq),
            ("erlang-cookie", &self.erlang_cookie),
            ("redis", &self.redis),
        ]
        .map(|(name, secret)| (name.to_owned(), secret))
        .into_iter()
        .chain(services)
        .chain(self.passwords.data())
        .collect()
    }

    fn parse(data: &Data, annotations: &Annotations) -> Self {
        let get = |key| text(data, key).unwrap_or_default();
        Self {
            services: Service::ALL
                .into_iter()
                .filter_map(|it| Some((it.name().to_owned(), text(data, it.name())?)))
                .collect(),
            passwords: Passwords::read(data, annotations),
            postgres: get("postgres"),
            rabbitmq: get("rabbitmq"),
            erlang_cookie: get("erlang-cookie"),
            redis: get("redis"),
            ..Self::default()
        }
    }

    /// All but the administrator of RabbitMQ, of whom pods know a hash alone.
    fn restore(mounted: &BTreeMap<&'static str, Data>) -> Self {
        let get = |part, key| text(mounted.get(part)?, key);
        let mut all = Self {
            postgres: get("postgres", "postgres").unwrap_or_default(),
            erlang_cookie: get("rabbitmq", "erlang-cookie").unwrap_or_default(),
            redis: get("redis", "admin").unwrap_or_default(),
            ..Self::default()
        };
        for service in Service::ALL {
            let delegated = ["DB_PASSWORD", "RMQ_PASSWORD"];
            let found = delegated.iter().find_map(|key| get(service.name(), key));
            if let Some(password) = found {
                all.services.insert(service.name().to_owned(), password);
            }
            if let Some(mounted) = mounted.get(service.name()) {
                all.passwords.restore(service, mounted);
            }
        }
        all
    }

    fn complete(&mut self) -> anyhow::Result<()> {
        let services = Service::ALL.map(|service| service.name().to_owned());
        for service in services {
            self.services.entry(service).or_default();
        }
        let single = [
            &mut self.postgres,
            &mut self.rabbitmq,
            &mut self.erlang_cookie,
            &mut self.redis,
            &mut self.jwt_key,
        ];
        for secret in self.services.values_mut().chain(single) {
            if secret.is_empty() {
                *secret = new_secret()?;
            }
        }
        self.passwords.complete()
    }
}

/// 256 random bits, as letters and digits.
pub fn new_secret() -> anyhow::Result<String> {
    let random = SystemRandom::new();
    let mut secret = String::with_capacity(LENGTH);
    let mut bytes = [0; 64];
    while secret.len() < LENGTH {
        random.fill(&mut bytes).ok().context("no random numbers")?;
        // 248 is four times 62: above it, some letters would be likelier than others.
        let fair = bytes.iter().filter(|byte| **byte < 248);
        let letters = fair.map(|byte| char::from(LETTERS[usize::from(byte % 62)]));
        secret.extend(letters.take(LENGTH - secret.len()));
    }
    Ok(secret)
}

/// One value, as it would be read from a mounted file. An empty one is none.
fn text(data: &Data, key: &str) -> Option<String> {
    let value = std::str::from_utf8(data.get(key)?).ok()?;
    let value = value.trim_end_matches(['\r', '\n']);
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests;
