//! PostgreSQL in one pod: a database and a role for each service.

use chat_events::Service;

use super::store::{CONFIG, DATA, RUN, SECRETS, Store, connect, env, exec};
use crate::credentials::Turn;
use crate::resources::Resources;
use crate::validate::{Managed, Postgres, Validated};

pub const PART: &str = "postgres";
pub const PORT: u16 = 5432;

pub fn build(chat: &Validated, out: &mut Resources) {
    if let Postgres::Managed(managed) = &chat.postgres {
        store(chat, managed).build(chat, out);
    }
}

/// The services that keep something in it.
pub fn users() -> impl Iterator<Item = Service> {
    Service::ALL.into_iter().filter(|it| it.has_database())
}

/// A file for each login that is accepted, with its password.
fn logins(chat: &Validated) -> Vec<(String, String)> {
    let passwords = &chat.credentials.passwords;
    let accepted = Turn::BOTH.into_iter().filter(|it| passwords.accepts(*it));
    let of = |turn: Turn| {
        users().map(move |it| {
            let file = format!("{}-{}", it.name(), turn.number());
            (file, chat.credentials.password(it, turn).to_owned())
        })
    };
    accepted.flat_map(of).collect()
}

fn store<'a>(chat: &Validated, managed: &'a Managed) -> Store<'a> {
    let services: Vec<&str> = users().map(Service::name).collect();
    Store {
        part: PART,
        managed,
        command: &["/bin/sh", "/etc/chat/config/start.sh"],
        env: vec![
            env("CONFIG", CONFIG),
            env("SECRETS", SECRETS),
            env("PGDATA", format!("{DATA}/postgres")),
            env("PGHOST", RUN),
            env("CHAT", &chat.name),
            env("SERVICES", services.join(" ")),
        ],
        config: vec![
            ("start.sh", include_str!("scripts/postgres/start.sh").into()),
            ("stop.sh", include_str!("scripts/postgres/stop.sh").into()),
            ("ready.sh", include_str!("scripts/postgres/ready.sh").into()),
            (
                "programs.sh",
                include_str!("scripts/postgres/programs.sh").into(),
            ),
            (
                "server.sql",
                include_str!("scripts/postgres/server.sql").into(),
            ),
            (
                "logins.sh",
                include_str!("scripts/postgres/logins.sh").into(),
            ),
            ("try.sh", include_str!("scripts/postgres/try.sh").into()),
            ("role.sql", include_str!("scripts/postgres/role.sql").into()),
            (
                "postgresql.conf",
                include_str!("scripts/postgres/postgresql.conf").into(),
            ),
            (
                "pg_hba.conf",
                include_str!("scripts/postgres/pg_hba.conf").into(),
            ),
            (
                "first_hba.conf",
                include_str!("scripts/postgres/first_hba.conf").into(),
            ),
        ],
        secrets: vec![("postgres", chat.credentials.postgres.clone())],
        logins: logins(chat),
        ports: &[("postgres", PORT as i32)],
        // It listens only when roles and databases are there. Recovery after a crash
        // may take its time.
        startup: connect("postgres", 2, 1_800),
        readiness: exec(&["/bin/sh", "/etc/chat/config/ready.sh"], 5, 5, 15),
        liveness: connect("postgres", 10, 60),
        before_stop: Some(&["/bin/sh", "/etc/chat/config/stop.sh"]),
        grace: 120,
    }
}

#[cfg(test)]
mod tests;
