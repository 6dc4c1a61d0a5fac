//! Finds what no hint told: pods that died, and hints that were lost.

use std::collections::HashSet;
use std::time::Duration;

use chat_events::UserId;
use sqlx::PgConnection;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Hint, LookError, Presence};

const SWEEP: Duration = Duration::from_secs(2);
/// How often the whole table is compared with the leases.
const COMPARE: Duration = Duration::from_secs(15);

impl Presence {
    /// Sweeps until `stop`.
    pub async fn sweep(self, stop: CancellationToken) {
        let mut tick = interval(SWEEP);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut compare_at = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let compare = Instant::now() >= compare_at;
            match self.sweep_once(compare).await {
                Ok(()) if compare => compare_at = Instant::now() + COMPARE,
                Ok(()) => {}
                Err(error) => tracing::warn!(error = %error, "presence cannot be compared for now"),
            }
        }
    }

    /// One replica at a time.
    async fn sweep_once(&self, compare: bool) -> Result<(), LookError> {
        let mut turn = self.database.begin().await?;
        let mine: bool =
            sqlx::query_scalar("select pg_try_advisory_xact_lock(hashtext('presence'))")
                .fetch_one(&mut *turn)
                .await?;
        if !mine {
            return Ok(());
        }
        for pod in self.leases.dead().await? {
            tracing::info!(
                pod = pod.name,
                users = pod.users.len(),
                "a pod's lease is over"
            );
            self.look(&hints(pod.users)).await?;
            // Only now: had the look failed, the next sweep must find it again.
            self.leases.forget(&pod.name).await?;
        }
        if compare {
            let different = self.compare(&mut turn).await?;
            self.look(&hints(different)).await?;
        }
        turn.commit().await?;
        Ok(())
    }

    /// Everybody whose row and leases differ, or whose absence was left undecided.
    async fn compare(&self, turn: &mut PgConnection) -> Result<Vec<UserId>, LookError> {
        let rows: Vec<(Uuid, bool)> =
            sqlx::query_as("select id, away_since is not null from users where online")
                .fetch_all(turn)
                .await?;
        let leased = self.leases.online().await?;
        let online: HashSet<UserId> = rows.iter().map(|(id, _)| (*id).into()).collect();
        let undecided = rows
            .iter()
            .filter(|(_, away)| *away)
            .map(|(id, _)| (*id).into());
        let different: HashSet<UserId> = online
            .symmetric_difference(&leased)
            .copied()
            .chain(undecided)
            .collect();
        Ok(different.into_iter().collect())
    }
}

fn hints(users: Vec<UserId>) -> Vec<Hint> {
    users
        .into_iter()
        .map(|user| Hint { user, trace: None })
        .collect()
}
