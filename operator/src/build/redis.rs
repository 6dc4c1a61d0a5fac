//! Redis in one pod: a user for each service, who reaches its own keys alone.

use aws_lc_rs::digest::{SHA256, digest};
use chat_events::{Service, rights};

use super::login;
use super::meta::hex;
use super::store::{CONFIG, SECRETS, Store, connect, env, exec};
use crate::credentials::Turn;
use crate::quantity;
use crate::resources::Resources;
use crate::validate::{Managed, Redis, Validated};

pub const PART: &str = "redis";
pub const PORT: u16 = 6379;

pub fn build(chat: &Validated, out: &mut Resources) {
    if let Redis::Managed(managed) = &chat.redis {
        store(chat, managed).build(chat, out);
    }
}

/// The services that keep something in it.
pub fn users() -> impl Iterator<Item = Service> {
    Service::ALL.into_iter().filter(|it| *it != Service::Auth)
}

fn store<'a>(chat: &Validated, managed: &'a Managed) -> Store<'a> {
    Store {
        part: PART,
        managed,
        command: &["redis-server", "/etc/chat/config/redis.conf"],
        env: vec![
            env("CONFIG", CONFIG),
            env("SECRETS", SECRETS),
            env("PORT", PORT.to_string()),
        ],
        config: vec![
            ("redis.conf", settings(managed)),
            ("ready.sh", include_str!("scripts/redis/ready.sh").into()),
            ("logins.sh", include_str!("scripts/redis/logins.sh").into()),
            ("try.sh", include_str!("scripts/redis/try.sh").into()),
        ],
        secrets: vec![("admin", chat.credentials.redis.clone())],
        logins: vec![("users.acl".into(), acl(chat))],
        ports: &[("redis", PORT as i32)],
        startup: connect("redis", 1, 60),
        readiness: exec(&["/bin/sh", "/etc/chat/config/ready.sh"], 5, 3, 15),
        liveness: connect("redis", 10, 60),
        before_stop: None,
        grace: 30,
    }
}

fn acl(chat: &Validated) -> String {
    let password = |password: &str| hex(digest(&SHA256, password.as_bytes()).as_ref());
    let mut acl = format!(
        "user default on nopass resetkeys resetchannels -@all +ping\n\
         user admin on #{} ~* &* +@all\n",
        password(&chat.credentials.redis)
    );
    for (turn, service) in Turn::BOTH
        .into_iter()
        .flat_map(|turn| users().map(move |service| (turn, service)))
    {
        let name = login::name(chat, service, turn);
        acl += &if chat.credentials.passwords.accepts(turn) {
            format!(
                "user {name} on #{} resetkeys resetchannels {}\n",
                password(chat.credentials.password(service, turn)),
                rights::redis_rules(&chat.name, service).join(" "),
            )
        } else {
            format!("user {name} off\n")
        };
    }
    acl
}

fn settings(managed: &Managed) -> String {
    let mut settings = include_str!("scripts/redis/redis.conf").to_owned();
    let limits = managed.resources.limits.as_ref();
    if let Some(limit) = limits.and_then(|it| quantity::parse(&it.get("memory")?.0)) {
        // The rest is for connections, and for the copy while the log is rewritten.
        settings += &format!("maxmemory {}\n", limit / quantity::ONE * 60 / 100);
    }
    settings
}

#[cfg(test)]
mod tests;
