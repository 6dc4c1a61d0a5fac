use axum::extract::FromRef;
use chat_kit::cache::Cache;
use chat_kit::identity::Identity;
use chat_kit::outbox::Outbox;
use sqlx::PgPool;

/// What handlers work with.
#[derive(Clone, FromRef)]
pub struct AppState {
    pub pool: PgPool,
    /// The newest page of conversations.
    pub cache: Cache,
    pub outbox: Outbox,
    pub identity: Identity,
}
