//! What runs beside the requests: loading the pepper, keeping the list of ended
//! sessions, and removing what is too old to matter.

use std::time::Duration;

use chat_events::SessionId;
use chat_kit::broker::Backoff;
use chat_kit::health::Part;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::keys::REVOKED_FOR;
use crate::pepper::Pepper;
use crate::session::{self, revocations};
use crate::state::App;
use crate::throttle;

/// Ended sessions are read this often, should a push be missed.
const LOOK: Duration = Duration::from_secs(5);
const SWEEP: Duration = Duration::from_secs(600);

/// Opens the pepper as soon as the database is there.
pub async fn load_pepper(app: App, ready: Part, stop: CancellationToken) {
    let mut backoff = Backoff::default();
    loop {
        let loaded = match Pepper::load(&app.pool, &app.keys).await {
            Ok(pepper) => app.hasher.set_pepper(pepper),
            Err(error) => Err(error),
        };
        match loaded {
            Ok(()) => return ready.set(true),
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "no password can be checked yet"
            ),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = backoff.wait() => {}
        }
    }
}

/// Knows of sessions that other replicas ended, with or without the broker.
pub async fn follow_revocations(app: App, ready: Part, stop: CancellationToken) {
    let mut backoff = Backoff::default();
    loop {
        let listed = revocations::list(&app.pool).await;
        let pause = async {
            match listed {
                Ok(revoked) => {
                    let sessions = revoked.into_iter().map(|one| (one.session_id, one.until));
                    app.identity.add_revoked(sessions);
                    ready.set(true);
                    backoff = Backoff::default();
                    tokio::time::sleep(LOOK).await;
                }
                Err(error) => {
                    tracing::warn!(error = %error, "cannot read the ended sessions");
                    backoff.wait().await;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = pause => {}
        }
    }
}

pub async fn sweep(app: App, stop: CancellationToken) {
    let mut tick = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        for swept in [
            throttle::sweep(&app.pool).await,
            session::sweep(&app.pool).await,
            Pepper::keep_sealed(&app.pool, &app.keys).await,
        ] {
            if let Err(error) = swept {
                tracing::warn!(error = %error, "old rows stay for now");
            }
        }
    }
}

/// This replica refuses the session's access tokens from now on.
pub fn note_ended(app: &App, session_id: SessionId) {
    app.identity
        .add_revoked([(session_id, Timestamp::now() + REVOKED_FOR)]);
}
