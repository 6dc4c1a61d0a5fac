//! What the handlers share.

use std::sync::Arc;

use axum::extract::FromRef;
use chat_kit::broker::Publisher;
use chat_kit::identity::Identity;
use chat_kit::outbox::Outbox;
use chat_kit::presence::Presence;
use sqlx::PgPool;
use tokio_util::task::TaskTracker;

use crate::audience::Written;
use crate::socket::Hub;

#[derive(Clone, FromRef)]
pub struct AppState {
    pub database: PgPool,
    pub outbox: Outbox,
    pub publisher: Publisher,
    pub audiences: Arc<Written>,
    pub identity: Identity,
    pub presence: Presence,
    pub hub: Arc<Hub>,
    /// The pages that may open sockets.
    pub origins: Arc<[String]>,
    /// The open sockets; the process ends after them.
    pub sessions: TaskTracker,
}
