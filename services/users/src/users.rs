//! Users over HTTP, one endpoint per file.

use chat_events::UserId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

pub mod cursor;
pub mod get;
pub mod list;
pub mod order;
pub mod query;
pub mod update_me;

/// What everybody with a session may know of a user.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct User {
    pub id: UserId,
    pub username: String,
    pub display_name: String,
    pub status: Status,
    /// When the user was last known to be here, if ever.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen_at: Option<Timestamp>,
}

/// Online: at least one socket is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Online,
    Offline,
}

/// The columns of [`Row`].
pub const COLUMNS: &str = "id, username, display_name, username_key, online, last_seen_at";

#[derive(FromRow)]
pub struct Row {
    pub id: Uuid,
    pub username: String,
    pub display_name: String,
    pub username_key: String,
    pub online: bool,
    pub last_seen_at: Option<jiff_sqlx::Timestamp>,
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            username: row.username,
            display_name: row.display_name,
            status: if row.online {
                Status::Online
            } else {
                Status::Offline
            },
            last_seen_at: row.last_seen_at.map(|at| at.to_jiff()),
        }
    }
}
