//! What every handler may use.

use std::sync::Arc;

use axum::extract::FromRef;
use chat_kit::identity::Identity;
use chat_kit::presence::Presence;
use chat_kit::socket::Wheel;
use tokio_util::task::TaskTracker;

use crate::hub::Caller;
use crate::session::Surroundings;
use crate::users::Users;

#[derive(Clone)]
pub struct AppState {
    pub identity: Identity,
    pub origins: Arc<[String]>,
    pub sessions: Arc<Surroundings>,
    pub wheel: Arc<Wheel<Caller>>,
    pub users: Users,
    pub presence: Arc<Presence>,
    /// The end of the process waits for the sockets among them.
    pub tasks: TaskTracker,
}

impl FromRef<AppState> for Identity {
    fn from_ref(state: &AppState) -> Self {
        state.identity.clone()
    }
}
