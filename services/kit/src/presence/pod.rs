//! A pod's own side of presence.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chat_events::{Event, Recorded, UserId};
use futures::StreamExt;
use redis::{AsyncCommands, RedisResult, Script};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Leases, bounded, lease};
use crate::broker::Publisher;
use crate::trace;

const RENEW: Duration = Duration::from_secs(5);
/// A lease that was renewed within this needs no renewal with a note.
const FRESH: Duration = Duration::from_secs(10);
/// A renewal that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// Notes under way at once when Redis has to be filled again.
const NOTES: usize = 64;

/// Renews the lease as well, so that a pod is alive with its first user.
const NOTE_SCRIPT: &str = "
    local now = redis.call('TIME')[1]
    redis.call('SET', KEYS[2], now, 'NX')
    if tonumber(ARGV[4]) > 0 then
        redis.call('ZADD', KEYS[1], now + ARGV[4], ARGV[1])
    end
    local change = ARGV[3] == '1' and 'SADD' or 'SREM'
    redis.call(change, KEYS[3], ARGV[2])
    redis.call(change, KEYS[4], ARGV[1])";
const RENEW_SCRIPT: &str = "
    local now = redis.call('TIME')[1]
    redis.call('SET', KEYS[2], now, 'NX')
    redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
    return redis.call('SCARD', KEYS[3])";

/// Counts sockets per user and keeps the lease.
#[derive(Clone)]
pub struct Presence {
    leases: Leases,
    pod: Arc<str>,
    publisher: Publisher,
    sockets: Arc<Mutex<HashMap<UserId, usize>>>,
    /// Redis missed a note.
    behind: Arc<AtomicBool>,
    /// The lease was given back.
    left: Arc<AtomicBool>,
    renewed: Arc<Mutex<Option<Instant>>>,
}

impl Presence {
    pub fn new(leases: Leases, pod: &str, publisher: Publisher) -> Self {
        Self {
            leases,
            pod: pod.into(),
            publisher,
            sockets: Arc::default(),
            behind: Arc::default(),
            left: Arc::default(),
            renewed: Arc::default(),
        }
    }

    /// Call it for each socket that opens …
    pub async fn opened(&self, user: UserId) {
        let first = {
            let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            let count = sockets.entry(user).or_default();
            *count += 1;
            *count == 1
        };
        if first {
            self.note(user).await;
        }
    }

    /// … and for each that closes.
    pub async fn closed(&self, user: UserId) {
        let last = {
            let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            match sockets.get_mut(&user) {
                Some(count) if *count > 1 => {
                    *count -= 1;
                    false
                }
                _ => sockets.remove(&user).is_some(),
            }
        };
        if last {
            self.note(user).await;
        }
    }

    /// Writes what is true now. A socket may open or close meanwhile, and its
    /// own note may arrive first: so look again, and the last note is right.
    async fn note(&self, user: UserId) {
        loop {
            let online = self.holds(user);
            if let Err(error) = self.write(user, online).await {
                tracing::warn!(error = %error, "presence waits for Redis");
                // The next renewal makes it right.
                self.behind.store(true, Ordering::Release);
                return;
            }
            if self.holds(user) == online {
                self.hint(user);
                return;
            }
        }
    }

    fn holds(&self, user: UserId) -> bool {
        self.sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&user)
    }

    fn held(&self) -> HashSet<UserId> {
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.keys().copied().collect()
    }

    async fn write(&self, user: UserId, online: bool) -> RedisResult<()> {
        let left = self.left.load(Ordering::Acquire);
        if !left && self.is_fresh() && self.write_beside_lease(user, online).await? {
            return Ok(());
        }
        let lease = if left { 0 } else { lease().as_secs() };
        let script = Script::new(NOTE_SCRIPT);
        let mut note = script.key(self.leases.pods());
        note.key(self.leases.since())
            .key(self.leases.pod(&self.pod))
            .key(self.leases.user(user))
            .arg(&*self.pod)
            .arg(user.to_string())
            .arg(u8::from(online))
            .arg(lease);
        let () = bounded(note.invoke_async(&mut self.leases.redis.clone())).await?;
        self.note_renewal();
        Ok(())
    }

    /// Writes the two sets alone; returns whether Redis has the lease.
    async fn write_beside_lease(&self, user: UserId, online: bool) -> RedisResult<bool> {
        let change = if online { "SADD" } else { "SREM" };
        let mut note = redis::pipe();
        note.zscore(self.leases.pods(), &*self.pod)
            .cmd(change)
            .arg(self.leases.pod(&self.pod))
            .arg(user.to_string())
            .ignore()
            .cmd(change)
            .arg(self.leases.user(user))
            .arg(&*self.pod)
            .ignore();
        let mut redis = self.leases.redis.clone();
        let (lease,): (Option<f64>,) = bounded(note.query_async(&mut redis)).await?;
        Ok(lease.is_some())
    }

    fn is_fresh(&self) -> bool {
        let renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        renewed.is_some_and(|renewed| renewed.elapsed() < FRESH)
    }

    fn note_renewal(&self) {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        *renewed = Some(Instant::now());
    }

    fn hint(&self, user_id: UserId) {
        let hint = Event::PresenceHint { user_id };
        self.publisher.hint(Recorded::new(hint, trace::current()));
    }

    /// Renews the lease, and writes everything again when Redis lost it. After
    /// `stop` it goes on until the last socket has closed, for no longer than
    /// `drain`, then gives the lease back instead of letting it run out.
    pub async fn keep(self, stop: CancellationToken, drain: Duration) {
        let mut wait = Duration::ZERO;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => wait = self.renew_or_retry().await,
            }
        }
        let end = Instant::now() + drain;
        let mut renew = Instant::now();
        while !self.held().is_empty() && Instant::now() < end {
            if Instant::now() >= renew {
                renew = Instant::now() + self.renew_or_retry().await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.leave().await;
    }

    /// Returns how long to wait before the next renewal.
    async fn renew_or_retry(&self) -> Duration {
        if let Err(error) = self.renew().await {
            tracing::warn!(error = %error, "presence waits for Redis");
            return RETRY;
        }
        if self.behind.load(Ordering::Acquire) {
            RETRY
        } else {
            RENEW
        }
    }

    async fn renew(&self) -> RedisResult<()> {
        let mut redis = self.leases.redis.clone();
        let script = Script::new(RENEW_SCRIPT);
        let mut renew = script.key(self.leases.pods());
        renew
            .key(self.leases.since())
            .key(self.leases.pod(&self.pod))
            .arg(&*self.pod)
            .arg(lease().as_secs());
        let known: usize = bounded(renew.invoke_async(&mut redis)).await?;
        self.note_renewal();
        let behind = self.behind.load(Ordering::Acquire);
        if !behind && known == self.held().len() {
            return Ok(());
        }
        // Redis lost a note, or all of them.
        let noted: HashSet<UserId> = self.leases.held(&self.pod).await?.into_iter().collect();
        // Before the notes: one that fails says so again.
        self.behind.store(false, Ordering::Release);
        let held = self.held();
        // A note may have reached one of its two sets when Redis stopped, so
        // after a failure everybody is written again.
        let again = held
            .union(&noted)
            .filter(|user| behind || !(held.contains(user) && noted.contains(user)));
        futures::stream::iter(again)
            .for_each_concurrent(NOTES, async |user| {
                if !self.behind.load(Ordering::Acquire) {
                    self.note(*user).await;
                }
            })
            .await;
        Ok(())
    }

    async fn leave(&self) {
        self.left.store(true, Ordering::Release);
        let mut redis = self.leases.redis.clone();
        let left: RedisResult<()> = bounded(redis.zadd(self.leases.pods(), &*self.pod, 0)).await;
        if let Err(error) = left {
            tracing::warn!(error = %error, "the presence lease has to run out");
        }
    }
}
