//! Who may write: the one that holds the Lease, by the rule of client-go.
//!
//! The holder renews every 2 s and gives up when it could not for 10 s. Others
//! take over when they saw no renewal for 15 s by their own clock, or at once when
//! it was released. Every write names the version that was read, so that of two
//! candidates one is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use nix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;

/// The name of the Lease.
pub const NAME: &str = "chat-operator";
const DURATION: Duration = Duration::from_secs(15);
const DEADLINE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);
/// How often the others look; a release is seen within it.
const LOOK: Duration = Duration::from_secs(1);

/// Until when this process may write, for all who write.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<AtomicU64>);

impl Leadership {
    /// That of a process which nobody else competes with.
    pub fn alone() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }

    fn none() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    /// By a clock that also runs while the process or the machine sleeps.
    pub fn holds(&self) -> bool {
        now() < self.0.load(Ordering::Acquire)
    }

    fn until(&self, end: u64) {
        self.0.store(end, Ordering::Release);
    }
}

/// Milliseconds since the machine started, those of sleep included.
fn now() -> u64 {
    // No clock means no right to write.
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .ok()
        .and_then(|time| u64::try_from(Duration::from(time).as_millis()).ok())
        .unwrap_or(u64::MAX)
}

/// One process that wants to lead.
pub struct Candidate {
    api: Api<Lease>,
    identity: String,
    leadership: Leadership,
    seen: Option<Seen>,
}

/// The Lease as it was last seen to change, and when that was.
struct Seen {
    version: Option<String>,
    at: u64,
}

impl Candidate {
    /// `client` must be one that may always write.
    pub fn new(client: Client, namespace: &str, identity: String) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            identity,
            leadership: Leadership::none(),
            seen: None,
        }
    }

    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Waits until this process leads; `false` when it was told to stop before.
    pub async fn lead(&mut self, stop: &CancellationToken) -> bool {
        loop {
            match tokio::time::timeout(RETRY, self.attempt()).await {
                Ok(Ok(true)) => return true,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!("the lease cannot be had now: {error:#}"),
                Err(_) => tracing::warn!("the lease cannot be had now: no answer"),
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return false,
            }
        }
    }

    /// Keeps leading, and returns when that has ended: `Ok` when the process was told
    /// to stop and the Lease is free again, an error when it was lost.
    pub async fn keep(&mut self, stop: &CancellationToken) -> Result<()> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => return Ok(()),
            }
            anyhow::ensure!(self.leadership.holds(), "the lease was not renewed in time");
            match tokio::time::timeout(RETRY, self.attempt()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => anyhow::bail!("the lease was taken by another"),
                Ok(Err(error)) => tracing::warn!("the lease was not renewed: {error:#}"),
                Err(_) => tracing::warn!("the lease was not renewed: no answer"),
            }
        }
    }

    /// Lets another lead at once. Nothing may be written after it.
    pub async fn release(&mut self) -> Result<()> {
        self.leadership.until(0);
        let Some(mut lease) = self.api.get_opt(NAME).await? else {
            return Ok(());
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        // As client-go does: a lease of one second that nobody holds.
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        self.api
            .replace(NAME, &PostParams::default(), &lease)
            .await?;
        Ok(())
    }

    /// One try to take or renew; `false` when another holds the Lease.
    async fn attempt(&mut self) -> Result<bool> {
        // Counted from before the call: others count from after it.
        let begin = now();
        let read = self.api.get_opt(NAME).await.context("reading")?;
        let written = match read {
            None => {
                let lease = Lease {
                    metadata: ObjectMeta {
                        name: Some(NAME.to_owned()),
                        ..ObjectMeta::default()
                    },
                    spec: Some(taken(None, &self.identity)),
                };
                self.api.create(&PostParams::default(), &lease).await
            }
            Some(mut lease) => {
                self.look(&lease, begin);
                if !may_take(lease.spec.as_ref(), &self.identity, self.silence(begin)) {
                    self.leadership.until(0);
                    return Ok(false);
                }
                lease.spec = Some(taken(lease.spec.as_ref(), &self.identity));
                self.api.replace(NAME, &PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(lease) => {
                self.look(&lease, begin);
                self.leadership.until(begin + millis(DEADLINE));
                Ok(true)
            }
            // Somebody was faster; the next look tells who.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                Ok(self.leadership.holds())
            }
            Err(error) => Err(error).context("writing"),
        }
    }

    fn look(&mut self, lease: &Lease, at: u64) {
        let version = lease.metadata.resource_version.clone();
        if self
            .seen
            .as_ref()
            .is_none_or(|seen| seen.version != version)
        {
            self.seen = Some(Seen { version, at });
        }
    }

    /// For how long the holder was not heard of.
    fn silence(&self, now: u64) -> u64 {
        let seen = self.seen.as_ref();
        seen.map_or(0, |seen| now.saturating_sub(seen.at))
    }
}

/// Whether a Lease is free for this one, whose holder was silent for so many milliseconds.
fn may_take(spec: Option<&LeaseSpec>, identity: &str, silence: u64) -> bool {
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref());
    let length = spec
        .and_then(|spec| spec.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(millis(DURATION), |seconds| seconds * 1000);
    match holder {
        None | Some("") => true,
        Some(holder) => holder == identity || silence > length,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a holder writes.
fn taken(before: Option<&LeaseSpec>, identity: &str) -> LeaseSpec {
    let now = MicroTime(Timestamp::now());
    let before = before.cloned().unwrap_or_default();
    let renewal = before.holder_identity.as_deref() == Some(identity);
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        renew_time: Some(now.clone()),
        acquire_time: if renewal {
            before.acquire_time
        } else {
            Some(now)
        },
        lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!renewal)),
        ..before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_nobody_holds_is_free() {
        assert!(may_take(None, "me", 0));
        assert!(may_take(Some(&LeaseSpec::default()), "me", 0));
        let released = LeaseSpec {
            holder_identity: Some(String::new()),
            ..LeaseSpec::default()
        };
        assert!(may_take(Some(&released), "me", 0));
    }

    #[test]
    fn a_lease_of_another_is_free_when_it_was_silent_for_longer_than_it_lasts() {
        let theirs = taken(None, "other");
        assert!(!may_take(Some(&theirs), "me", 0));
        assert!(!may_take(Some(&theirs), "me", 15_000));
        assert!(may_take(Some(&theirs), "me", 15_001));
        assert!(may_take(Some(&theirs), "other", 0));
    }

    #[test]
    fn a_renewal_is_no_transition() {
        let first = taken(None, "me");
        assert_eq!(first.lease_transitions, Some(1));
        let renewed = taken(Some(&first), "me");
        assert_eq!(renewed.lease_transitions, Some(1));
        assert_eq!(renewed.acquire_time, first.acquire_time);
        let lost = taken(Some(&renewed), "other");
        assert_eq!(lost.lease_transitions, Some(2));
        assert_eq!(lost.holder_identity.as_deref(), Some("other"));
    }

    #[test]
    fn who_never_led_may_not_write_and_who_is_alone_may() {
        assert!(!Leadership::none().holds());
        assert!(Leadership::alone().holds());
    }

    #[test]
    fn a_leadership_ends_by_itself() {
        let leadership = Leadership::none();
        leadership.until(now() + 60_000);
        assert!(leadership.holds());
        leadership.until(now());
        assert!(!leadership.holds());
    }
}
