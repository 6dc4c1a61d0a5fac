//! The SQL of a batch: a handful of statements, whatever its size.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chat_events::{ConversationId, Event, MessageView, ReadRequested, Recorded, UserId};
use chat_kit::planted::{self, Bug};
use jiff_sqlx::{Timestamp, ToSqlx};
use sqlx::PgConnection;
use uuid::Uuid;

use super::sequence::{Log, Logs, Mark, Outcome, Stored};
use crate::lease::Lease;

/// A process that is frozen in mid-transaction must not keep its leases for ever.
pub const FROZEN: (&str, &str) = ("idle_in_transaction_session_timeout", "5s");

/// The conversation whose log an event is for.
pub fn conversation(event: &Event) -> Option<ConversationId> {
    match event {
        Event::MessageSent(sent) => Some(sent.conversation_id),
        Event::MessageRead(read) => Some(read.conversation_id),
        _ => None,
    }
}

#[derive(sqlx::FromRow)]
struct LockRow {
    partition: Option<i16>,
    id: Option<Uuid>,
    number: i64,
}

/// Locks the conversations of the events; returns the leases that are still ours. Nobody
/// can claim one of these before the transaction ends: a claim needs the row `for
/// update`. Renewing it needs less, and does not wait for us.
pub async fn lock<'a>(
    transaction: &mut PgConnection,
    pod: &str,
    leases: &[&Lease],
    events: impl Iterator<Item = &'a Recorded>,
) -> sqlx::Result<(HashSet<(u16, i64)>, Logs)> {
    let (partitions, fences): (Vec<i16>, Vec<i64>) = leases
        .iter()
        .map(|lease| (lease.partition as i16, lease.fence))
        .unzip();
    let ids: BTreeSet<Uuid> = events
        .filter_map(|recorded| conversation(&recorded.event))
        .map(|id| id.0)
        .collect();
    // In the order of ids, so that no two transactions wait for each other.
    let lock = if planted::bug(Bug::SeqFromMax) {
        "select null::smallint as partition, id,
             (select coalesce(max(m.seq), 0) from messages m where m.conversation_id = c.id) as number
         from conversations c where id = any($4)
         union all
         select p.partition, null, p.fence
         from unnest($1::smallint[], $2::bigint[]) as held (partition, fence)
         join partitions p using (partition, fence) where p.owner = $3"
    } else {
        "with held as (
             select p.partition, p.fence
             from unnest($1::smallint[], $2::bigint[]) as held (partition, fence)
             join partitions p using (partition, fence) where p.owner = $3 for key share of p
         ), logs as (
             select id, last_seq from conversations where id = any($4) order by id for no key update
         )
         select partition, null::uuid as id, fence as number from held
         union all select null, id, last_seq from logs"
    };
    let rows: Vec<LockRow> = sqlx::query_as(lock)
        .bind(partitions)
        .bind(fences)
        .bind(pod)
        .bind(ids.into_iter().collect::<Vec<_>>())
        .fetch_all(transaction)
        .await?;
    let (mut owned, mut logs) = (HashSet::new(), Logs::default());
    for row in rows {
        if let Some(partition) = row.partition {
            owned.insert((partition as u16, row.number));
        }
        if let Some(id) = row.id {
            let log = Log {
                last_seq: row.number,
                ..Log::default()
            };
            logs.conversations.insert(id.into(), log);
        }
    }
    Ok((owned, logs))
}

/// Reads what the events depend on. Only after the locks: a statement sees what was
/// committed before it began.
pub async fn read(
    transaction: &mut PgConnection,
    events: &[&Recorded],
    logs: &mut Logs,
) -> sqlx::Result<()> {
    let (mut conversations, mut senders, mut clients) = (Vec::new(), Vec::new(), Vec::new());
    let mut reads = Vec::new();
    for recorded in events {
        match &recorded.event {
            Event::MessageSent(sent) => {
                conversations.push(sent.conversation_id.0);
                senders.push(sent.sender_id.0);
                clients.push(sent.client_id.0);
            }
            Event::MessageRead(read) => reads.push(read),
            _ => {}
        }
    }
    let ids: Vec<Uuid> = logs.conversations.keys().map(|id| id.0).collect();
    read_members(transaction, &ids, logs).await?;
    if !clients.is_empty() && !planted::bug(Bug::DedupeForgets) {
        read_stored(transaction, conversations, senders, clients, logs).await?;
    }
    if !reads.is_empty() {
        read_marks(transaction, &reads, logs).await?;
    }
    Ok(())
}

/// One row for each conversation, however many are in it.
async fn read_members(
    transaction: &mut PgConnection,
    ids: &[Uuid],
    logs: &mut Logs,
) -> sqlx::Result<()> {
    let rows: Vec<(Uuid, Vec<Uuid>)> = sqlx::query_as(
        "select conversation_id, array_agg(user_id order by user_id)
         from members where conversation_id = any($1) group by conversation_id",
    )
    .bind(ids)
    .fetch_all(transaction)
    .await?;
    for (id, members) in rows {
        if let Some(log) = logs.conversations.get_mut(&id.into()) {
            log.members = members.into_iter().map(UserId::from).collect();
        }
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct StoredRow {
    conversation_id: Uuid,
    seq: i64,
    id: Uuid,
    sender_id: Uuid,
    client_id: Uuid,
    content: String,
    body_hash: Vec<u8>,
    created_at: Timestamp,
}

/// Sends that came before. Nobody else can add one while the locks are held;
/// `messages_client_id_key` would refuse it.
async fn read_stored(
    transaction: &mut PgConnection,
    conversations: Vec<Uuid>,
    senders: Vec<Uuid>,
    clients: Vec<Uuid>,
    logs: &mut Logs,
) -> sqlx::Result<()> {
    let rows: Vec<StoredRow> = sqlx::query_as(
        "select distinct on (m.conversation_id, m.seq)
             m.conversation_id, m.seq, m.id, m.sender_id, m.client_id, m.content, m.body_hash, m.created_at
         from unnest($1::uuid[], $2::uuid[], $3::uuid[]) as sent (conversation_id, sender_id, client_id)
         join messages m using (conversation_id, sender_id, client_id)",
    )
    .bind(conversations)
    .bind(senders)
    .bind(clients)
    .fetch_all(transaction)
    .await?;
    for row in rows {
        let view = MessageView {
            id: row.id.into(),
            conversation_id: row.conversation_id.into(),
            seq: row.seq,
            sender_id: row.sender_id.into(),
            client_id: row.client_id.into(),
            content: row.content,
            created_at: row.created_at.to_jiff(),
        };
        let key = (view.conversation_id, view.sender_id, view.client_id);
        let body_hash = row.body_hash;
        logs.stored.insert(key, Stored { view, body_hash });
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct MarkRow {
    conversation_id: Uuid,
    user_id: Uuid,
    read_up_to: i64,
    read_seq: Option<i64>,
    read_event: Option<Uuid>,
    read_at: Option<Timestamp>,
    passed_seq: Option<i64>,
    passed_sender_id: Option<Uuid>,
}

/// The marks of those who read, and the messages on which they may come to stand: of
/// each read the newest message that it covers, and the newest of somebody else.
async fn read_marks(
    transaction: &mut PgConnection,
    reads: &[&ReadRequested],
    logs: &mut Logs,
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = reads.iter().map(|read| read.conversation_id.0).collect();
    let readers: Vec<Uuid> = reads.iter().map(|read| read.user_id.0).collect();
    let up_tos: Vec<i64> = reads.iter().map(|read| read.up_to).collect();
    // Nothing but one, unless it is planted that a mark may fall.
    let kept = i64::from(!planted::bug(Bug::ReadMarkFalls));
    let rows: Vec<MarkRow> = sqlx::query_as(
        "select conversation_id, user_id, mark.read_up_to, me.read_seq, me.read_event, me.read_at,
             passed.seq as passed_seq, passed.sender_id as passed_sender_id
         from unnest($1::uuid[], $2::uuid[], $3::bigint[]) as read (conversation_id, user_id, up_to)
         join members me using (conversation_id, user_id)
         cross join lateral (select me.read_up_to * $4 as read_up_to) mark
         left join lateral (
             (select m.seq, m.sender_id from messages m
              where m.conversation_id = me.conversation_id and m.seq > mark.read_up_to and m.seq <= read.up_to
              order by m.seq desc limit 1)
             union all
             (select m.seq, m.sender_id from messages m
              where m.conversation_id = me.conversation_id and m.seq > mark.read_up_to and m.seq <= read.up_to
                  and m.sender_id <> me.user_id
              order by m.seq desc limit 1)
         ) passed on true",
    )
    .bind(ids)
    .bind(readers)
    .bind(up_tos)
    .bind(kept)
    .fetch_all(transaction)
    .await?;
    for row in rows {
        let Some(log) = logs.conversations.get_mut(&row.conversation_id.into()) else {
            continue;
        };
        let entry = row.read_seq.zip(row.read_event).zip(row.read_at);
        let mark = Mark {
            up_to: row.read_up_to,
            entry: entry.map(|((seq, event), at)| (seq, event, at.to_jiff())),
        };
        log.marks.insert(row.user_id.into(), mark);
        if let Some((seq, sender)) = row.passed_seq.zip(row.passed_sender_id) {
            log.messages.insert(seq, sender.into());
        }
    }
    Ok(())
}

/// Writes the new entries, the counters and the marks.
pub async fn write(transaction: &mut PgConnection, outcome: &Outcome) -> sqlx::Result<()> {
    if outcome.counters.is_empty() {
        return Ok(());
    }
    write_reads(transaction, outcome).await?;
    let (ids, seqs): (Vec<Uuid>, Vec<i64>) = outcome
        .counters
        .iter()
        .map(|(id, seq)| (id.0, *seq))
        .unzip();
    let mut activity: BTreeMap<Uuid, jiff::Timestamp> = BTreeMap::new();
    for message in &outcome.messages {
        let newest = activity
            .entry(message.view.conversation_id.0)
            .or_insert(message.view.created_at);
        *newest = message.view.created_at.max(*newest);
    }
    let at: Vec<Option<Timestamp>> = ids
        .iter()
        .map(|id| activity.get(id).map(|at| at.to_sqlx()))
        .collect();
    let views = || outcome.messages.iter().map(|message| &message.view);
    sqlx::query(
        "with entries as (
             insert into messages (conversation_id, seq, id, sender_id, client_id, content, created_at, body_hash)
             select * from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[],
                 $7::timestamptz[], $8::bytea[])
         )
         update conversations c
         set last_seq = new.seq, last_activity_at = greatest(c.last_activity_at, new.at)
         from unnest($9::uuid[], $10::bigint[], $11::timestamptz[]) as new (id, seq, at)
         where c.id = new.id",
    )
    .bind(views().map(|view| view.conversation_id.0).collect::<Vec<_>>())
    .bind(views().map(|view| view.seq).collect::<Vec<_>>())
    .bind(views().map(|view| view.id.0).collect::<Vec<_>>())
    .bind(views().map(|view| view.sender_id.0).collect::<Vec<_>>())
    .bind(views().map(|view| view.client_id.0).collect::<Vec<_>>())
    .bind(views().map(|view| view.content.as_str()).collect::<Vec<_>>())
    .bind(views().map(|view| view.created_at.to_sqlx()).collect::<Vec<_>>())
    .bind(outcome.messages.iter().map(|message| message.body_hash.as_slice()).collect::<Vec<_>>())
    .bind(ids)
    .bind(seqs)
    .bind(at)
    .execute(transaction)
    .await?;
    Ok(())
}

async fn write_reads(transaction: &mut PgConnection, outcome: &Outcome) -> sqlx::Result<()> {
    if outcome.reads.is_empty() {
        return Ok(());
    }
    let reads = || outcome.reads.iter();
    // Two reads of one member: both are entries, the later one is the mark.
    sqlx::query(
        "with new as (
             select * from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bigint[], $5::timestamptz[], $6::uuid[])
                 as new (conversation_id, seq, user_id, up_to, at, event)
         ), entries as (
             insert into reads (conversation_id, seq, user_id, up_to, at)
             select conversation_id, seq, user_id, up_to, at from new
         )
         update members m
         set read_up_to = last.up_to, read_seq = last.seq, read_at = last.at, read_event = last.event
         from (
             select distinct on (conversation_id, user_id) * from new
             order by conversation_id, user_id, seq desc
         ) last
         where m.conversation_id = last.conversation_id and m.user_id = last.user_id",
    )
    .bind(reads().map(|read| read.conversation_id.0).collect::<Vec<_>>())
    .bind(reads().map(|read| read.seq).collect::<Vec<_>>())
    .bind(reads().map(|read| read.user_id.0).collect::<Vec<_>>())
    .bind(reads().map(|read| read.up_to).collect::<Vec<_>>())
    .bind(reads().map(|read| read.at.to_sqlx()).collect::<Vec<_>>())
    .bind(reads().map(|read| read.event).collect::<Vec<_>>())
    .execute(transaction)
    .await?;
    Ok(())
}
