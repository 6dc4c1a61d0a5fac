//! The answer to whoever has signed in, with both cookies.

use axum::http::HeaderMap;
use chat_events::{SessionId, UserId};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::RefreshToken;
use crate::keys::Holder;
use crate::state::App;

/// An account as everybody may see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct User {
    pub id: UserId,
    pub username: String,
    pub display_name: String,
}

/// The caller's own account.
#[derive(Debug, Serialize, ToSchema)]
pub struct Account {
    pub id: UserId,
    pub username: String,
    pub display_name: String,
    pub email: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionInfo {
    pub id: SessionId,
    /// When the access token expires. Refresh before.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SignedIn {
    pub user: User,
    pub session: SessionInfo,
}

/// A session with its cookies.
pub struct Credentials {
    pub session: SessionInfo,
    pub cookies: HeaderMap,
}

impl Credentials {
    pub fn issue(
        app: &App,
        holder: &Holder,
        refresh: &RefreshToken,
        session_end: Timestamp,
    ) -> anyhow::Result<Self> {
        let (access, expires_at) = app.keys.access_token(holder, session_end)?;
        Ok(Self {
            session: SessionInfo {
                id: holder.session_id,
                expires_at,
            },
            cookies: app.cookies.set(&access, &refresh.encode()),
        })
    }
}
