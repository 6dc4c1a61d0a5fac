//! People, conversations and tokens by the thousand, made in the tables: signing up
//! costs a password hash each, and groups cannot be made over HTTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use aws_lc_rs::signature::Ed25519KeyPair;
use chat_events::{ConversationId, Service, SessionId, UserId, limits};
use jiff::Timestamp;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::socket::RawSocket;
use crate::forged::sign;
use crate::{Backstage, Chat, socket};

/// As many sockets as one address may have, with room for others.
const PER_ADDRESS: u32 = limits::SOCKETS_PER_ADDRESS as u32 - 10;

/// Somebody whom every service knows, but auth: nobody signs in.
#[derive(Clone, Debug)]
pub struct Member {
    pub id: UserId,
    pub username: String,
}

/// Makes people.
pub struct Cast<'a> {
    chat: &'a Chat,
    key: Ed25519KeyPair,
    key_id: String,
    opened: Arc<AtomicU32>,
}

/// One pod's sockets, past NGINX.
#[derive(Clone)]
pub struct Door {
    to: SocketAddr,
    path: &'static str,
    origin: String,
    opened: Arc<AtomicU32>,
}

impl Door {
    /// As another process knows it; `before` sockets were opened there already.
    pub fn at(to: SocketAddr, origin: String, before: u32) -> Self {
        Self {
            to,
            path: socket::CHAT,
            origin,
            opened: Arc::new(AtomicU32::new(before)),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.to
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The first frame waits in the socket.
    ///
    /// # Errors
    /// When the pod refuses.
    pub async fn open(&self, token: &str) -> anyhow::Result<RawSocket> {
        // The limit of sockets per address is kept, and never met.
        let number = self.opened.fetch_add(1, Ordering::Relaxed) / PER_ADDRESS;
        let [_, _, b, c] = number.to_be_bytes();
        let from = IpAddr::V4(Ipv4Addr::new(127, 99, b, c % 254 + 1));
        let bearer = format!("Bearer {token}");
        let headers = [("Origin", self.origin.as_str()), ("Authorization", &bearer)];
        RawSocket::open(self.to, from, self.path, &headers).await
    }
}

impl<'a> Cast<'a> {
    /// # Errors
    /// When auth does not answer.
    pub async fn new(chat: &'a Chat) -> anyhow::Result<Self> {
        let auth = chat.door(Service::Auth, 0).url;
        let keys: serde_json::Value = reqwest::get(format!("{auth}/api/auth/jwks"))
            .await?
            .json()
            .await?;
        let key_id = keys["keys"][0]["kid"].as_str().context("auth has no key")?;
        Ok(Self {
            chat,
            key: chat.signing_key()?,
            key_id: key_id.to_owned(),
            opened: Arc::default(),
        })
    }

    /// # Errors
    /// When a database does not take them.
    pub async fn people(&self, count: usize) -> anyhow::Result<Vec<Member>> {
        let people: Vec<Member> = (0..count)
            .map(|_| {
                let id = UserId::generate();
                let name = id.0.simple().to_string();
                Member {
                    id,
                    username: format!("load_{}", &name[name.len() - 20..]),
                }
            })
            .collect();
        let ids: Vec<Uuid> = people.iter().map(|one| one.id.0).collect();
        let names: Vec<&str> = people.iter().map(|one| one.username.as_str()).collect();
        for (service, sql) in [
            (
                Service::Messages,
                "insert into people (user_id, username, display_name, version)
                 select id, name, name, 1 from unnest($1::uuid[], $2::text[]) as new (id, name)",
            ),
            (
                Service::Notifications,
                "insert into people (user_id, username, display_name, version)
                 select id, name, name, 1 from unnest($1::uuid[], $2::text[]) as new (id, name)",
            ),
            (
                Service::Users,
                "insert into users (id, username, display_name, username_key, display_name_key, version)
                 select id, name, name, name, name, 1
                 from unnest($1::uuid[], $2::text[]) as new (id, name)",
            ),
        ] {
            let mut database = self.chat.database(service).await?;
            sqlx::query(sql)
                .bind(&ids)
                .bind(&names)
                .execute(&mut database)
                .await?;
        }
        Ok(people)
    }

    /// One conversation for each group; two at least are in it.
    ///
    /// # Errors
    /// When the database does not take them.
    pub async fn conversations(
        &self,
        groups: &[Vec<UserId>],
    ) -> anyhow::Result<Vec<ConversationId>> {
        let mut database = self.chat.database(Service::Messages).await?;
        let ids: Vec<ConversationId> = groups.iter().map(|_| ConversationId::generate()).collect();
        insert(&mut database, &ids, groups).await?;
        Ok(ids)
    }

    /// A token of ten minutes, as auth would sign it.
    pub fn token(&self, member: &Member) -> String {
        let now = Timestamp::now().as_second();
        let cluster = &self.chat.cluster().name;
        let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": self.key_id });
        let claims = json!({
            "iss": format!("chatcluster/{cluster}"),
            "aud": cluster,
            "sub": member.id,
            "username": member.username,
            "sid": SessionId::generate(),
            "jti": Uuid::new_v4(),
            "iat": now,
            "nbf": now,
            "exp": now + limits::ACCESS_TOKEN.as_secs() as i64,
        });
        sign(&self.key, &header, &claims)
    }

    /// The chat sockets of one pod of socket-handler.
    pub fn door(&self, pod: usize) -> Door {
        self.door_of(Service::SocketHandler, pod, socket::CHAT)
    }

    /// A chat socket on one pod of socket-handler. `hello` waits in it.
    ///
    /// # Errors
    /// When the pod refuses.
    pub async fn socket(&self, member: &Member, pod: usize) -> anyhow::Result<RawSocket> {
        self.door(pod).open(&self.token(member)).await
    }

    /// A notification socket on one pod of notifications. `hello` waits in it.
    ///
    /// # Errors
    /// When the pod refuses.
    pub async fn notices(&self, member: &Member, pod: usize) -> anyhow::Result<RawSocket> {
        let door = self.door_of(Service::Notifications, pod, socket::NOTIFICATIONS);
        door.open(&self.token(member)).await
    }

    fn door_of(&self, service: Service, pod: usize, path: &'static str) -> Door {
        let port = self.chat.pod(service, pod).place().port;
        Door {
            to: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            path,
            origin: self.chat.site.origin.clone(),
            opened: self.opened.clone(),
        }
    }
}

async fn insert(
    database: &mut PgConnection,
    ids: &[ConversationId],
    groups: &[Vec<UserId>],
) -> anyhow::Result<()> {
    let (mut lows, mut highs) = (Vec::new(), Vec::new());
    let (mut of, mut members) = (Vec::new(), Vec::new());
    for (id, group) in ids.iter().zip(groups) {
        let [one, two, ..] = group[..] else {
            anyhow::bail!("a conversation has two members at least");
        };
        lows.push(one.0.min(two.0));
        highs.push(one.0.max(two.0));
        of.extend(std::iter::repeat_n(id.0, group.len()));
        members.extend(group.iter().map(|user| user.0));
    }
    sqlx::query(
        "insert into conversations (id, kind, low_id, high_id, created_at, last_activity_at)
         select id, 'direct', low, high, now(), now()
         from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as new (id, low, high)",
    )
    .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind(lows)
    .bind(highs)
    .execute(&mut *database)
    .await?;
    sqlx::query(
        "insert into members (conversation_id, user_id) select * from unnest($1::uuid[], $2::uuid[])",
    )
    .bind(of)
    .bind(members)
    .execute(database)
    .await?;
    Ok(())
}
