//! What every handler can reach.

use std::sync::Arc;

use axum::extract::FromRef;
use chat_kit::identity::Identity;
use chat_kit::outbox::Outbox;
use sqlx::PgPool;

use crate::cookies::Cookies;
use crate::hasher::Hasher;
use crate::keys::Keys;
use crate::password::Rules;

#[derive(Clone)]
pub struct App {
    pub pool: PgPool,
    pub outbox: Outbox,
    pub identity: Identity,
    pub keys: Arc<Keys>,
    pub hasher: Hasher,
    pub cookies: Cookies,
    pub passwords: Arc<Rules>,
    pub signin_per_minute: u32,
}

impl FromRef<App> for Identity {
    fn from_ref(app: &App) -> Self {
        app.identity.clone()
    }
}
