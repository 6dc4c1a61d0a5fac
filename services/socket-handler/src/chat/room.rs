//! A conversation in the shape of the earlier system.

use chat_events::ConversationId;
use chat_kit::identity::Authenticated;
use serde::Serialize;
use utoipa::ToSchema;

use crate::messages::Conversation;

#[derive(Serialize, ToSchema)]
pub struct Room {
    /// The conversation.
    id: ConversationId,
    /// The peer's user name.
    name: String,
}

impl Room {
    pub fn seen_by(caller: &Authenticated, conversation: &Conversation) -> Self {
        let mut members = conversation.members.iter();
        let peer = members.find(|member| member.user_id != caller.user_id());
        Self {
            id: conversation.id,
            name: peer.map_or_else(String::new, |peer| peer.username.clone()),
        }
    }
}
