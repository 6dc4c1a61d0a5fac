//! The log of a conversation, for its members.

pub mod events;
pub mod page;

use chat_events::{ConversationId, MessageView};
use jiff_sqlx::Timestamp;
use uuid::Uuid;

/// A message of a page, where a page without messages is one row of nothing.
#[derive(sqlx::FromRow)]
struct MessageRow {
    seq: Option<i64>,
    id: Option<Uuid>,
    sender_id: Option<Uuid>,
    client_id: Option<Uuid>,
    content: Option<String>,
    created_at: Option<Timestamp>,
}

impl MessageRow {
    fn into_view(self, conversation_id: ConversationId) -> Option<MessageView> {
        Some(MessageView {
            id: self.id?.into(),
            conversation_id,
            seq: self.seq?,
            sender_id: self.sender_id?.into(),
            client_id: self.client_id?.into(),
            content: self.content?,
            created_at: self.created_at?.to_jiff(),
        })
    }
}
