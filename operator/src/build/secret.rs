//! The Secrets that we make: our own record of every password, what one service
//! mounts as files, and the keys of access tokens.

use std::collections::BTreeMap;

use chat_events::Service;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::{login, meta};
use crate::credentials::{JWT_KEY, JWT_KEY_PREVIOUS, Turn};
use crate::resources::Resources;
use crate::validate::{Login, Validated};

/// The parts of the names `<chat>-credentials` and `<chat>-jwt`.
pub const CREDENTIALS: &str = "credentials";
pub const JWT: &str = "jwt";

/// A file below `/etc/chat/secrets`, named like the setting that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub setting: &'static str,
    /// The Secret and the key in it.
    pub source: (String, String),
    /// Another content, another hash.
    pub hash: String,
}

pub fn build(chat: &Validated, out: &mut Resources) {
    out.secrets.push(credentials(chat));
    for service in Service::ALL {
        let logins = logins(chat, service);
        if !logins.is_empty() {
            out.secrets.push(Secret {
                metadata: meta::object(chat, service.name(), ""),
                data: Some(data(
                    logins.iter().map(|(key, it)| (key.as_str(), it.as_str())),
                )),
                ..Secret::default()
            });
        }
    }
    out.secrets.push(jwt(chat));
}

fn credentials(chat: &Validated) -> Secret {
    let all = &chat.credentials;
    let mut metadata = meta::data(chat, CREDENTIALS, "");
    let stage = all.passwords.annotations();
    if !stage.is_empty() {
        metadata.annotations.get_or_insert_default().extend(stage);
    }
    let held = all.own_data();
    Secret {
        metadata,
        data: Some(data(held.iter().map(|(key, it)| (key.as_str(), *it)))),
        ..Secret::default()
    }
}

/// The logins that we made for a service: those that managed stores accept, whether or
/// not it uses them yet, and the passwords in delegated ones.
fn logins(chat: &Validated, service: Service) -> BTreeMap<String, String> {
    let all = &chat.credentials;
    let ours = meta::name(chat, service.name());
    let files = files(chat, service).into_iter();
    let mut made = BTreeMap::new();
    for file in files.filter(|file| file.source.0 == ours) {
        if file.source.1 == file.setting {
            made.insert(file.source.1, all.of(service).to_owned());
            continue;
        }
        for turn in Turn::BOTH {
            if all.passwords.accepts(turn) {
                let password = all.password(service, turn).to_owned();
                made.insert(login::user_key(turn), login::name(chat, service, turn));
                made.insert(login::password_key(turn), password);
            }
        }
    }
    made
}

/// What the pods of a service mount; its migration needs the first alone, if that is
/// `DB_PASSWORD`.
pub fn files(chat: &Validated, service: Service) -> Vec<File> {
    let password = |setting, login: Login| File {
        setting,
        source: login.password,
        hash: login.content_hash,
    };
    let key = |setting, value: &String| File {
        setting,
        source: (meta::name(chat, JWT), setting.to_owned()),
        hash: meta::hash(value),
    };
    let mut files: Vec<File> = login::database(chat, service)
        .map(|login| password(login::DB_PASSWORD, login))
        .into_iter()
        .collect();
    files.push(password(login::RMQ_PASSWORD, login::broker(chat, service)));
    files.extend(login::cache(chat, service).map(|login| password(login::REDIS_PASSWORD, login)));
    if service == Service::Auth {
        files.push(key(JWT_KEY, &chat.credentials.jwt_key));
        let previous = chat.credentials.jwt_key_previous.as_ref();
        files.extend(previous.map(|value| key(JWT_KEY_PREVIOUS, value)));
    }
    files
}

/// The data of a Secret.
pub fn data<'a>(
    values: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<String, ByteString> {
    values
        .into_iter()
        .map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())))
        .collect()
}

fn jwt(chat: &Validated) -> Secret {
    let all = &chat.credentials;
    let mut metadata = meta::data(chat, JWT, "");
    metadata
        .annotations
        .get_or_insert_default()
        .extend(all.rotation.annotations());
    let previous = all.jwt_key_previous.as_deref();
    Secret {
        metadata,
        data: Some(data(
            [(JWT_KEY, all.jwt_key.as_str())]
                .into_iter()
                .chain(previous.map(|key| (JWT_KEY_PREVIOUS, key))),
        )),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests;
