use axum::extract::FromRef;
use chat_kit::cache::{Cache, Flights};
use chat_kit::identity::Identity;
use chat_kit::outbox::Outbox;
use sqlx::PgPool;

use crate::messages::page::MessagePage;

/// What handlers work with.
#[derive(Clone, FromRef)]
pub struct AppState {
    pub pool: PgPool,
    /// The newest page of conversations.
    pub cache: Cache,
    pub flights: Flights<MessagePage>,
    pub outbox: Outbox,
    pub identity: Identity,
}
