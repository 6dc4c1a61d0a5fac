//! What the handlers share.

use axum::extract::FromRef;
use chat_kit::identity::Identity;
use chat_kit::outbox::Outbox;
use sqlx::PgPool;

use crate::pages::Pages;

#[derive(Clone, FromRef)]
pub struct AppState {
    pub database: PgPool,
    pub outbox: Outbox,
    pub identity: Identity,
    pub pages: Pages,
}
