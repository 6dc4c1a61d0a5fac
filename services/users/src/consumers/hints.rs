//! USERS_SRV_PresenceQueue: a pod saw somebody's first socket open or last one close.

use chat_events::{Event, Recorded};
use chat_kit::broker::HandleError;

use super::stray;
use crate::presence::{Hint, LookError, Presence};

pub async fn handle(presence: &Presence, events: &[Recorded]) -> Result<(), HandleError> {
    let mut hints = Vec::with_capacity(events.len());
    for recorded in events {
        let Event::PresenceHint { user_id } = recorded.event else {
            return Err(stray(recorded));
        };
        hints.push(Hint {
            user: user_id,
            trace: recorded.trace.clone(),
        });
    }
    match presence.look(&hints).await {
        Err(LookError::Database(error)) => Err(error.into()),
        // What the hint was about is compared again when Redis is back.
        Err(LookError::Leases(error)) => {
            tracing::warn!(error = %error, "presence stays as it is without Redis");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
