//! The SQL of a batch: a handful of statements, whatever its size and its audience.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chat_events::{ConversationId, UserId};
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Known, Message, preview};
use crate::audience::Written;

/// Takes the next places, under the lock that lets one batch at a time store notices;
/// returns the last one.
pub async fn take_places(transaction: &mut PgConnection, places: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar("update progress set place = place + $1 returning place")
        .bind(places)
        .fetch_one(transaction)
        .await
}

/// Moves marks up; returns whose.
pub async fn marks(
    transaction: &mut PgConnection,
    marks: &BTreeMap<(UserId, ConversationId), i64>,
) -> sqlx::Result<Vec<UserId>> {
    if marks.is_empty() {
        return Ok(Vec::new());
    }
    let users: Vec<Uuid> = marks.keys().map(|(user, _)| user.0).collect();
    let conversations: Vec<Uuid> = marks.keys().map(|(_, id)| id.0).collect();
    let up_tos: Vec<i64> = marks.values().copied().collect();
    let moved: Vec<Uuid> = sqlx::query_scalar(
        "insert into read_marks as mark (user_id, conversation_id, up_to)
         select * from unnest($1::uuid[], $2::uuid[], $3::bigint[])
         on conflict on constraint read_marks_key do update
         set up_to = excluded.up_to, read_at = excluded.read_at
         where mark.up_to < excluded.up_to
         returning mark.user_id",
    )
    .bind(users)
    .bind(conversations)
    .bind(up_tos)
    .fetch_all(transaction)
    .await?;
    let moved: BTreeSet<UserId> = moved.into_iter().map(UserId).collect();
    Ok(moved.into_iter().collect())
}

/// Writes the audiences that are not remembered; returns them, to be remembered.
pub async fn audiences(
    transaction: &mut PgConnection,
    written: &Written,
    messages: &[Message<'_>],
) -> sqlx::Result<Vec<Uuid>> {
    let new: BTreeMap<Uuid, &Message<'_>> = messages
        .iter()
        .filter(|message| !written.has(message.audience))
        .map(|message| (message.audience, message))
        .collect();
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let rows = || {
        new.iter().flat_map(|(audience, message)| {
            let members = message.members.iter();
            members.map(|member| (*audience, member.0, message.view.conversation_id.0))
        })
    };
    sqlx::query(
        "insert into audiences (audience, user_id, conversation_id)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[])
             as given (audience, user_id, conversation_id)
         where not exists (
             select from people where people.user_id = given.user_id and deleted_at is not null
         )
         order by audience, user_id
         on conflict on constraint audiences_key do nothing",
    )
    .bind(rows().map(|(audience, _, _)| audience).collect::<Vec<_>>())
    .bind(rows().map(|(_, member, _)| member).collect::<Vec<_>>())
    .bind(rows().map(|(_, _, here)| here).collect::<Vec<_>>())
    .execute(transaction)
    .await?;
    Ok(new.into_keys().collect())
}

/// Of each message, in their order.
pub async fn known_of(
    transaction: &mut PgConnection,
    messages: &[Message<'_>],
) -> sqlx::Result<Vec<Known>> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let views = || messages.iter().map(|message| message.view);
    let rows: Vec<(String, Vec<Uuid>)> = sqlx::query_as(
        "select coalesce(people.username, ''),
             array(select mark.user_id from read_marks mark
                   where mark.conversation_id = given.conversation_id and mark.up_to >= given.seq)
         from unnest($1::uuid[], $2::bigint[], $3::uuid[])
             with ordinality as given (conversation_id, seq, sender_id, place)
         left join people on people.user_id = given.sender_id
         order by place",
    )
    .bind(
        views()
            .map(|view| view.conversation_id.0)
            .collect::<Vec<_>>(),
    )
    .bind(views().map(|view| view.seq).collect::<Vec<_>>())
    .bind(views().map(|view| view.sender_id.0).collect::<Vec<_>>())
    .fetch_all(transaction)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(sender_username, read_by)| Known {
            sender_username,
            read_by,
        })
        .collect())
}

/// Writes the notices that do not exist yet; returns the ids of those.
pub async fn notices(
    transaction: &mut PgConnection,
    messages: &[Message<'_>],
) -> sqlx::Result<HashSet<Uuid>> {
    if messages.is_empty() {
        return Ok(HashSet::new());
    }
    let each = || messages.iter();
    let created: Vec<Uuid> = sqlx::query_scalar(
        "insert into message_notices (id, audience, seq, message_id, sender_id, created_at, preview)
         select * from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[],
                              $6::timestamptz[], $7::text[])
         on conflict on constraint message_notices_once do nothing
         returning id",
    )
    .bind(each().map(|it| it.id).collect::<Vec<_>>())
    .bind(each().map(|it| it.audience).collect::<Vec<_>>())
    .bind(each().map(|it| it.view.seq).collect::<Vec<_>>())
    .bind(each().map(|it| it.message_id.0).collect::<Vec<_>>())
    .bind(each().map(|it| it.view.sender_id.0).collect::<Vec<_>>())
    .bind(each().map(|it| it.view.created_at.to_sqlx()).collect::<Vec<_>>())
    .bind(each().map(|it| preview(it.view)).collect::<Vec<_>>())
    .fetch_all(transaction)
    .await?;
    Ok(created.into_iter().collect())
}
