//! NOTIFICATIONS_SRV_UserQueue: keeps names and presence, also while nobody has a socket.

use chat_events::Recorded;
use chat_kit::broker::HandleError;

use crate::people;
use crate::state::AppState;

pub async fn handle(state: &AppState, events: &[Recorded]) -> Result<(), HandleError> {
    let mut transaction = state.database.begin().await?;
    people::apply(&mut transaction, events).await?;
    transaction.commit().await?;
    Ok(())
}
