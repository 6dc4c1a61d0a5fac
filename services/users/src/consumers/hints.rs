//! USERS_SRV_PresenceQueue: a pod saw somebody's first socket open or last one close.

use std::time::Duration;

use chat_events::{Event, Recorded};
use chat_kit::broker::HandleError;
use tokio::time::sleep;

use super::stray;
use crate::presence::{Hint, LookError, Presence};

const GATHER: Duration = Duration::from_millis(50);

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
    let looked = presence.look(&hints).await;
    // The first is looked at at once, and all who come and go meanwhile together.
    sleep(GATHER).await;
    match looked {
        Err(LookError::Database(error)) => Err(error.into()),
        // What the hint was about is compared again when Redis is back.
        Err(LookError::Leases(error)) => {
            tracing::warn!(error = %error, "presence stays as it is without Redis");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
