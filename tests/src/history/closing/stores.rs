//! What lies in the stores beside the logs.

use anyhow::Context;
use chat_events::{ConversationId, MessageView, Service, UserId};
use serde::Deserialize;
use uuid::Uuid;

use super::Finder;
use crate::history::record::{Entry, Hash, Record};
use crate::history::recorder::Recorder;
use crate::{Backstage, Chat, Person};

/// As messages keeps the newest page of a conversation.
#[derive(Deserialize)]
struct Kept {
    messages: Vec<MessageView>,
    has_before: bool,
}

/// As users keeps a page of the directory.
#[derive(Deserialize)]
struct DirectoryPage {
    users: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: Uuid,
    username: String,
    display_name: String,
    status: String,
}

impl Finder {
    /// Every page in Redis, with the place in the log that its key names.
    pub(super) async fn pages(&self, chat: &impl Backstage) -> anyhow::Result<()> {
        let mut redis = chat.redis().await?;
        for key in chat.redis_keys("messages:newest:").await? {
            let value: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut redis).await?;
            // It may have run out just now.
            let Some(value) = value else { continue };
            let (conversation, seq, limit) =
                page_of(&key).with_context(|| format!("what is {key}?"))?;
            let kept: Kept = serde_json::from_str(&value).with_context(|| key.clone())?;
            let messages = kept.messages.iter();
            let messages =
                messages.map(|message| (message.seq, message.id, Hash::of(&message.content)));
            let hash = Hash::of_page(messages, kept.has_before);
            self.note(Some(Entry::Cached), |line| Record {
                conv: Some(conversation),
                seq: Some(seq),
                count: Some(limit),
                hash: Some(hash),
                of: Some(key.clone()),
                ..line
            });
        }
        Ok(())
    }

    /// Each user of each page of the directory that would still be given out, and
    /// the users as the table has them. Redis is read first: of a page whose version
    /// is still that of the table, every user is as in the table.
    pub(super) async fn directory(&self, chat: &impl Backstage) -> anyhow::Result<()> {
        let mut redis = chat.redis().await?;
        let mut pages: Vec<(String, DirectoryPage)> = Vec::new();
        for key in chat.redis_keys("users:").await? {
            let value: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut redis).await?;
            if let Some(value) = value {
                let page = serde_json::from_str(&value).with_context(|| key.clone())?;
                pages.push((key, page));
            }
        }
        let mut users = chat.database(Service::Users).await?;
        let rows: Vec<(Uuid, String, String, bool, i64)> = sqlx::query_as(
            "select u.id, u.username, u.display_name, u.online, d.version
             from users u cross join directory d",
        )
        .fetch_all(&mut users)
        .await?;
        let version = rows.first().map(|row| row.4);
        for (id, username, display_name, online, _) in &rows {
            let status = if *online { "online" } else { "offline" };
            self.profile(Entry::Profile, *id, [username, display_name, status], None);
        }
        for (key, page) in &pages {
            if version_of(key) != version {
                continue;
            }
            for user in &page.users {
                let shown = [&user.username, &user.display_name, &user.status];
                self.profile(Entry::Cached, user.id, shown.map(String::as_str), Some(key));
            }
        }
        Ok(())
    }

    fn profile(&self, entry: Entry, user: Uuid, shown: [&str; 3], of: Option<&String>) {
        self.note(Some(entry), |line| Record {
            by: Some(UserId(user)),
            hash: Some(Hash::of(&shown.join("\n"))),
            of: of.cloned(),
            ..line
        });
    }

    /// How many refresh tokens of each live session are good.
    pub(super) async fn leaves(&self, chat: &impl Backstage) -> anyhow::Result<()> {
        let mut auth = chat.database(Service::Auth).await?;
        let sessions: Vec<(Uuid, Uuid, i64)> = sqlx::query_as(
            "select s.id, s.account_id, count(t.hash) filter (where t.used_at is null)
             from sessions s left join refresh_tokens t on t.session_id = s.id
             where s.ended_at is null group by s.id",
        )
        .fetch_all(&mut auth)
        .await?;
        for (session, account, count) in sessions {
            self.note(Some(Entry::Leaf), |line| Record {
                by: Some(UserId(account)),
                count: Some(count),
                of: Some(session.to_string()),
                ..line
            });
        }
        Ok(())
    }

    /// Open handles of each pod, and connections to each database.
    async fn resources(&self, chat: &Chat) -> anyhow::Result<()> {
        for pod in chat.pods() {
            let Some(pid) = pod.pid().await else { continue };
            let handles = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
            self.resource(format!("handles of {}", pod.name()), handles as i64);
        }
        for service in Service::ALL.into_iter().filter(|it| it.has_database()) {
            let mut database = chat.database(service).await?;
            // A pool that leaks hands out what it has before it asks for more, so that
            // those in use tell sooner.
            let (all, busy): (i64, i64) = sqlx::query_as(
                "select count(*), count(*) filter (where state <> 'idle') from pg_stat_activity
                 where datname = current_database() and usename = current_database()",
            )
            .fetch_one(&mut database)
            .await?;
            let connections = format!("connections to the database of {}", service.name());
            self.resource(format!("busy {connections}"), busy);
            self.resource(connections, all);
        }
        Ok(())
    }

    fn resource(&self, of: String, count: i64) {
        self.note(Some(Entry::Resource), |line| Record {
            of: Some(of),
            count: Some(count),
            ..line
        });
    }
}

/// What pods hold at a quiet moment. The first sample of a run is what the later
/// ones are held against: take it when there was some load, and again when as many
/// people are there.
pub async fn sample(chat: &Chat, recorder: &Recorder) -> anyhow::Result<()> {
    Finder(recorder.harness()).resources(chat).await
}

/// Whether `user` is said to be online.
pub async fn presence_of(recorder: &Recorder, reader: &Person, user: UserId) -> anyhow::Result<()> {
    Finder(recorder.harness()).presence(reader, user).await
}

/// `{cluster}:messages:newest:{conversation}:{seq}:{time}:{limit}`
fn page_of(key: &str) -> Option<(ConversationId, i64, i64)> {
    let mut parts = key.rsplit(':');
    let limit = parts.next()?.parse().ok()?;
    let _time = parts.next()?;
    let seq = parts.next()?.parse().ok()?;
    Some((parts.next()?.parse().ok()?, seq, limit))
}

/// `{cluster}:users:[{version},{list}]`
fn version_of(key: &str) -> Option<i64> {
    let (_, rest) = key.split_once('[')?;
    rest.split_once(',')?.0.parse().ok()
}
