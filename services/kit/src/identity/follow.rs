//! Keeping keys and ended sessions as auth has them.

use std::time::Duration;

use chat_events::SessionId;
use futures::FutureExt;
use jiff::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Identity;
use crate::broker::Backoff;
use crate::health::Part;

/// The keys and the ended sessions are fetched this often, should a push be missed.
const REFRESH: Duration = Duration::from_secs(10);
/// … and, however many strange tokens arrive, not for long more often than this …
const SHORTEST: Duration = Duration::from_secs(1);
/// … though so many may come at once: a pod that has subscribed waits for its second.
const AT_ONCE: u32 = 3;

/// The answer of auth to `/internal/revocations`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Revocations {
    pub revoked: Vec<Revocation>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Revocation {
    pub session_id: SessionId,
    pub until: Timestamp,
}

impl Identity {
    /// Keeps keys and ended sessions current from auth, until `stop`. `ready`
    /// becomes true after the first success.
    pub async fn follow(self, auth_url: String, ready: Part, stop: CancellationToken) {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(3))
            .connect_timeout(Duration::from_secs(1))
            .build()
            .unwrap_or_default();
        let mut backoff = Backoff::default();
        let mut pace = Pace {
            paid: Instant::now(),
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(pace.next(Instant::now())) => {}
            }
            match self.look(&client, &auth_url).await {
                Ok(()) => {
                    ready.set(true);
                    backoff = Backoff::default();
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = sleep(REFRESH) => {}
                        () = self.inner.wanted.notified() => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "auth is not available; keys and ended sessions stay as they are");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = backoff.wait() => {}
                    }
                }
            }
        }
    }

    /// Fetches, and tells those who wait for it.
    async fn look(&self, client: &reqwest::Client, auth_url: &str) -> reqwest::Result<()> {
        // Whoever asked for it before is answered by this one.
        let _ = self.inner.wanted.notified().now_or_never();
        let mut number = 0;
        self.inner.looks.send_modify(|looks| {
            looks.begun += 1;
            number = looks.begun;
        });
        self.fetch(client, auth_url).await?;
        self.forget_strange();
        self.inner
            .looks
            .send_modify(|looks| looks.answered = number);
        Ok(())
    }

    async fn fetch(&self, client: &reqwest::Client, auth_url: &str) -> reqwest::Result<()> {
        let get = |path: &str| client.get(format!("{auth_url}{path}")).send();
        let keys: JwkSet = get("/api/auth/jwks")
            .await?
            .error_for_status()?
            .json()
            .await?;
        let ended: Revocations = get("/internal/revocations")
            .await?
            .error_for_status()?
            .json()
            .await?;
        self.set_keys(&keys);
        self.add_revoked(
            ended
                .revoked
                .into_iter()
                .map(|one| (one.session_id, one.until)),
        );
        Ok(())
    }
}

/// Lets [`AT_ONCE`] looks pass, and then one each [`SHORTEST`].
struct Pace {
    /// Each look pays for so much time, a few of them in advance.
    paid: Instant,
}

impl Pace {
    /// When somebody who asks at `now` may look.
    fn next(&mut self, now: Instant) -> Instant {
        let credit = SHORTEST * (AT_ONCE - 1);
        let due = now.max(self.paid - credit);
        self.paid = self.paid.max(now) + SHORTEST;
        due
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{AT_ONCE, Pace, SHORTEST};

    #[test]
    fn a_few_looks_come_at_once_and_then_one_a_second() {
        let start = Instant::now();
        let mut pace = Pace { paid: start };
        for wait in [0, 0, 0, 1, 2, 3] {
            assert_eq!(pace.next(start), start + SHORTEST * wait);
        }
        // After a rest as many again.
        let later = start + SHORTEST * 60;
        for _ in 0..AT_ONCE {
            assert_eq!(pace.next(later), later);
        }
        assert_eq!(pace.next(later), later + SHORTEST);
    }
}
