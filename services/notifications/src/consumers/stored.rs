//! NOTIFICATIONS_SRV_MessageSentQueue: a stored message makes a notice for
//! each member but its sender; a stored read clears the reader's notices.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chat_events::{
    ConversationId, Event, LogEvent, MessageId, MessageView, NoticeCreated, NoticeView, Recorded,
    UserId,
};
use chat_kit::broker::HandleError;
use chat_kit::planted::{self, Bug};
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::inbox;
use crate::state::AppState;

const PREVIEW_CHARS: usize = 120;

/// What a batch asks for. Its order does not matter: whether a notice is read
/// depends on the numbers of message and read alone.
#[derive(Default)]
struct Batch<'a> {
    notices: BTreeMap<(UserId, MessageId), Wanted<'a>>,
    reads: BTreeMap<(UserId, ConversationId), i64>,
}

struct Wanted<'a> {
    message: &'a MessageView,
    trace: Option<&'a str>,
}

impl<'a> Batch<'a> {
    fn of(events: &'a [Recorded]) -> Self {
        let mut batch = Self::default();
        for recorded in events {
            let Event::MessageStored { members, entry } = &recorded.event else {
                continue;
            };
            match entry {
                LogEvent::Message { message, .. } => {
                    for member in members.iter().filter(|user| **user != message.sender_id) {
                        let trace = recorded.trace.as_deref();
                        batch
                            .notices
                            .insert((*member, message.id), Wanted { message, trace });
                    }
                }
                LogEvent::Read {
                    conversation_id,
                    user_id,
                    up_to,
                    ..
                } => {
                    let mark = batch.reads.entry((*user_id, *conversation_id)).or_default();
                    *mark = (*mark).max(*up_to);
                }
            }
        }
        batch
    }

    fn users(&self) -> BTreeSet<UserId> {
        let receivers = self.notices.keys().map(|(user, _)| *user);
        let readers = self.reads.keys().map(|(user, _)| *user);
        receivers.chain(readers).collect()
    }
}

/// One transaction for the whole batch. What was done before is not done again.
pub async fn handle(state: &AppState, events: &[Recorded]) -> Result<(), HandleError> {
    let batch = Batch::of(events);
    if batch.users().is_empty() {
        return Ok(());
    }
    let mut transaction = state.database.begin().await?;
    inbox::lock(&mut transaction, batch.users()).await?;
    let mut changes = clear(&mut transaction, &batch).await?;
    let created = create(&mut transaction, &batch).await?;
    for notice in &created {
        *changes.entry(notice.user).or_default() += 1;
    }
    let unread = inbox::count(&mut transaction, &changes).await?;
    let told = tell(&mut transaction, &batch, created, &unread).await?;
    state.outbox.put_all(&mut transaction, told).await?;
    transaction.commit().await?;
    state.outbox.wake();
    Ok(())
}

/// Notes the reads and marks what they cover; returns how many fewer are unread.
async fn clear(
    transaction: &mut PgConnection,
    batch: &Batch<'_>,
) -> sqlx::Result<BTreeMap<UserId, i64>> {
    let mut changes = BTreeMap::new();
    if batch.reads.is_empty() {
        return Ok(changes);
    }
    let users: Vec<Uuid> = batch.reads.keys().map(|(user, _)| user.0).collect();
    let conversations: Vec<Uuid> = batch.reads.keys().map(|(_, id)| id.0).collect();
    let marks: Vec<i64> = batch.reads.values().copied().collect();
    let cleared: Vec<Uuid> = sqlx::query_scalar(
        "with marked as (
             insert into read_marks (user_id, conversation_id, up_to)
             select * from unnest($1::uuid[], $2::uuid[], $3::bigint[])
             on conflict on constraint read_marks_key do update
             set up_to = excluded.up_to where read_marks.up_to < excluded.up_to
         )
         update notices set read_at = now()
         from unnest($1::uuid[], $2::uuid[], $3::bigint[]) as mark (user_id, conversation_id, up_to)
         where notices.user_id = mark.user_id
           and notices.conversation_id = mark.conversation_id
           and notices.seq <= mark.up_to
           and notices.read_at is null and notices.deleted_at is null
         returning notices.user_id",
    )
    .bind(users)
    .bind(conversations)
    .bind(marks)
    .fetch_all(transaction)
    .await?;
    for user in cleared {
        *changes.entry(UserId(user)).or_default() -= 1;
    }
    Ok(changes)
}

struct Created {
    id: Uuid,
    user: UserId,
    message: MessageId,
}

/// Writes the notices that do not exist yet; returns those that are unread. A
/// message at or below the receiver's read mark makes a notice that is read.
async fn create(transaction: &mut PgConnection, batch: &Batch<'_>) -> sqlx::Result<Vec<Created>> {
    if batch.notices.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = || batch.notices.values().map(|wanted| wanted.message);
    let rows: Vec<(Uuid, Uuid, Uuid)> = sqlx::query_as(
        "with created as (
             insert into notices (id, user_id, conversation_id, message_id, seq, sender_id,
                                  preview, created_at, read_at)
             select given.*, case when mark.up_to >= given.seq then now() end
             from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::uuid[],
                         $7::text[], $8::timestamptz[])
                  as given (id, user_id, conversation_id, message_id, seq, sender_id,
                            preview, created_at)
             left join read_marks mark using (user_id, conversation_id)
             on conflict on constraint notices_once_per_message do nothing
             returning id, user_id, message_id, read_at
         )
         select id, user_id, message_id from created where read_at is null",
    )
    .bind(wanted().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
    .bind(
        batch
            .notices
            .keys()
            .map(|(user, _)| user.0)
            .collect::<Vec<_>>(),
    )
    .bind(
        wanted()
            .map(|message| message.conversation_id.0)
            .collect::<Vec<_>>(),
    )
    .bind(
        wanted()
            .map(|message| match planted::bug(Bug::NoticeTwice) {
                true => Uuid::now_v7(),
                false => message.id.0,
            })
            .collect::<Vec<_>>(),
    )
    .bind(wanted().map(|message| message.seq).collect::<Vec<_>>())
    .bind(
        wanted()
            .map(|message| message.sender_id.0)
            .collect::<Vec<_>>(),
    )
    .bind(wanted().map(preview).collect::<Vec<_>>())
    .bind(
        wanted()
            .map(|message| message.created_at.to_sqlx())
            .collect::<Vec<_>>(),
    )
    .fetch_all(transaction)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(id, user, message)| Created {
            id,
            user: UserId(user),
            message: MessageId(message),
        })
        .collect())
}

fn preview(message: &MessageView) -> String {
    message.content.chars().take(PREVIEW_CHARS).collect()
}

/// The events for open sockets: one per new notice, and one per reader without any.
async fn tell(
    transaction: &mut PgConnection,
    batch: &Batch<'_>,
    created: Vec<Created>,
    unread: &BTreeMap<UserId, i64>,
) -> sqlx::Result<Vec<Recorded>> {
    let senders: BTreeSet<Uuid> = batch
        .notices
        .values()
        .map(|wanted| wanted.message.sender_id.0)
        .collect();
    let names: HashMap<Uuid, String> =
        sqlx::query_as("select user_id, username from people where user_id = any($1)")
            .bind(senders.into_iter().collect::<Vec<_>>())
            .fetch_all(transaction)
            .await?
            .into_iter()
            .collect();
    let mut silent: BTreeMap<UserId, i64> = unread.clone();
    let mut told = Vec::with_capacity(created.len());
    for notice in created {
        let Some(Wanted { message, trace }) = batch.notices.get(&(notice.user, notice.message))
        else {
            continue;
        };
        silent.remove(&notice.user);
        let view = NoticeView {
            id: notice.id,
            conversation_id: message.conversation_id,
            message_id: message.id,
            seq: message.seq,
            sender_id: message.sender_id,
            sender_username: names.get(&message.sender_id.0).cloned().unwrap_or_default(),
            preview: preview(message),
            created_at: message.created_at,
            read_at: None,
        };
        let event = NoticeCreated {
            user_id: notice.user,
            unread: unread.get(&notice.user).copied().unwrap_or_default(),
            notice: Some(view),
        };
        told.push(Recorded::new(
            Event::Notice(event),
            trace.map(str::to_owned),
        ));
    }
    told.extend(silent.into_iter().map(|(user_id, unread)| {
        let event = NoticeCreated {
            user_id,
            unread,
            notice: None,
        };
        Recorded::new(Event::Notice(event), None)
    }));
    Ok(told)
}
