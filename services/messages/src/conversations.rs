//! Conversations of two, as a member sees them.

pub mod create;
pub mod get;
pub mod list;
pub mod positions;

use chat_events::{ConversationId, Member, MessageView};
use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use serde::Serialize;
use sqlx::types::Json;
use utoipa::ToSchema;
use uuid::Uuid;

/// A conversation with what the list shows of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Conversation {
    pub id: ConversationId,
    pub members: Vec<Member>,
    pub last_message: Option<MessageView>,
    /// Messages of others after the caller's read mark.
    pub unread: i64,
    /// The caller's read mark.
    pub read_up_to: i64,
    /// How far the other one has read.
    pub peer_read_up_to: i64,
    /// The newest entry of the log, messages and reads together.
    pub seq: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub last_activity_at: Timestamp,
}

/// One statement for the list and for one: `$picked` chooses, as
/// `(conversation_id, user_id, read_up_to)`, of which conversations the rest is
/// read.
macro_rules! select_conversations {
    ($picked:literal) => {
        concat!(
            "with mine as materialized (",
            $picked,
            ")
            select c.id, c.last_seq, c.created_at, c.last_activity_at, mine.read_up_to,
                coalesce((
                    select max(peer.read_up_to) from members peer
                    where peer.conversation_id = c.id and peer.user_id <> mine.user_id
                ), 0) as peer_read_up_to,
                (
                    select jsonb_agg(jsonb_build_object(
                        'user_id', m.user_id,
                        'username', coalesce(p.username, ''),
                        'display_name', coalesce(p.display_name, '')
                    ) order by m.user_id)
                    from members m left join people p on p.user_id = m.user_id
                    where m.conversation_id = c.id
                ) as members,
                (
                    select count(*) from messages n
                    where n.conversation_id = c.id and n.seq > mine.read_up_to and n.sender_id <> mine.user_id
                ) as unread,
                last.seq, last.id as message_id, last.sender_id, last.client_id, last.content,
                last.created_at as sent_at
            from mine
            join conversations c on c.id = mine.conversation_id
            left join lateral (
                select * from messages m where m.conversation_id = c.id order by m.seq desc limit 1
            ) last on true
            order by c.last_activity_at desc, c.id desc"
        )
    };
}
pub(crate) use select_conversations;

#[derive(sqlx::FromRow)]
pub struct ConversationRow {
    id: Uuid,
    last_seq: i64,
    created_at: SqlTimestamp,
    last_activity_at: SqlTimestamp,
    read_up_to: i64,
    peer_read_up_to: i64,
    members: Json<Vec<Member>>,
    unread: i64,
    #[sqlx(flatten)]
    last: LastMessageRow,
}

#[derive(sqlx::FromRow)]
struct LastMessageRow {
    seq: Option<i64>,
    message_id: Option<Uuid>,
    sender_id: Option<Uuid>,
    client_id: Option<Uuid>,
    content: Option<String>,
    sent_at: Option<SqlTimestamp>,
}

impl From<ConversationRow> for Conversation {
    fn from(row: ConversationRow) -> Self {
        let id = row.id.into();
        Self {
            id,
            members: row.members.0,
            last_message: row.last.into_view(id),
            unread: row.unread,
            read_up_to: row.read_up_to,
            peer_read_up_to: row.peer_read_up_to,
            seq: row.last_seq,
            created_at: row.created_at.to_jiff(),
            last_activity_at: row.last_activity_at.to_jiff(),
        }
    }
}

impl LastMessageRow {
    /// Nothing in a conversation without a message.
    fn into_view(self, conversation_id: ConversationId) -> Option<MessageView> {
        Some(MessageView {
            id: self.message_id?.into(),
            conversation_id,
            seq: self.seq?,
            sender_id: self.sender_id?.into(),
            client_id: self.client_id?.into(),
            content: self.content?,
            created_at: self.sent_at?.to_jiff(),
        })
    }
}
