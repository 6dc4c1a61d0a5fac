//! Who has an open socket, as leases in Redis. Each pod says which users it
//! holds and renews one lease for all of them; a pod that dies takes its users
//! with it. users alone decides what that means for others.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chat_events::{Event, Recorded, UserId};
use futures::StreamExt;
use redis::aio::ConnectionManager;
use redis::{AsyncCommands, ErrorKind, RedisResult, Script};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::broker::Publisher;
use crate::cache;
use crate::config::RedisArgs;
use crate::planted::{self, Bug};
use crate::trace;

/// A pod's lease; a killed pod's users are offline after it.
const LEASE: Duration = Duration::from_secs(30);
const RENEW: Duration = Duration::from_secs(5);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// A renewal that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// A Redis that lost everything has every lease again after these seconds: one
/// renewal, and a second more because seconds are counted whole.
const SETTLE: u64 = 7;
const COMMAND: Duration = Duration::from_millis(500);
/// Notes under way at once when Redis has to be filled again.
const NOTES: usize = 64;

// Redis' own clock decides, because pods may disagree about the time.

/// Every note renews the lease, so that a pod is alive with its first user.
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
/// The age of what Redis knows, then for each user whether a live pod holds him.
const LOOK_SCRIPT: &str = "
    local now = redis.call('TIME')[1]
    redis.call('SET', KEYS[2], now, 'NX')
    local live = {}
    for _, pod in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')) do
        live[pod] = true
    end
    local answer = { now - redis.call('GET', KEYS[2]) }
    for user = 3, #KEYS do
        local online = 0
        for _, pod in ipairs(redis.call('SMEMBERS', KEYS[user])) do
            if live[pod] then online = 1 end
        end
        answer[user - 1] = online
    end
    return answer";
const LIVE_SCRIPT: &str = "
    return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. redis.call('TIME')[1], '+inf')";
const DEAD_SCRIPT: &str = "
    return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1])";
/// Looks at the clock again: the pod may have come back meanwhile.
const FORGET_SCRIPT: &str = "
    local expiry = redis.call('ZSCORE', KEYS[1], ARGV[1])
    if not expiry or tonumber(expiry) > tonumber(redis.call('TIME')[1]) then
        return 0
    end
    for _, user in ipairs(redis.call('SMEMBERS', KEYS[2])) do
        redis.call('SREM', ARGV[2] .. user, ARGV[1])
    end
    redis.call('UNLINK', KEYS[2])
    return redis.call('ZREM', KEYS[1], ARGV[1])";

/// The leases as users reads and sweeps them.
#[derive(Clone)]
pub struct Leases {
    redis: ConnectionManager,
    cluster: String,
}

/// What the leases say of some users.
#[derive(Debug)]
pub struct View {
    /// Those of them who have a socket on a live pod.
    pub online: HashSet<UserId>,
    /// False for a while after Redis lost everything: pods have yet to write
    /// their leases again, and a user without one may still be online.
    pub settled: bool,
}

/// A pod whose lease ran out or was given back.
#[derive(Debug)]
pub struct DeadPod {
    pub name: String,
    pub users: Vec<UserId>,
}

impl Leases {
    pub fn new(args: &RedisArgs, cluster: &str) -> anyhow::Result<Self> {
        Ok(Self {
            redis: cache::connect(args, COMMAND)?,
            cluster: cluster.to_owned(),
        })
    }

    fn pods(&self) -> String {
        format!("{}:presence:pods", self.cluster)
    }

    /// When Redis began to know what it knows.
    fn since(&self) -> String {
        format!("{}:presence:since", self.cluster)
    }

    fn pod(&self, pod: &str) -> String {
        format!("{}:presence:pod:{pod}", self.cluster)
    }

    fn users(&self) -> String {
        format!("{}:presence:user:", self.cluster)
    }

    fn user(&self, user: UserId) -> String {
        format!("{}{user}", self.users())
    }

    /// Who of these has a socket. All of them are looked at in one moment.
    pub async fn look(&self, users: &[UserId]) -> RedisResult<View> {
        let script = Script::new(LOOK_SCRIPT);
        let mut look = script.key(self.pods());
        look.key(self.since());
        for user in users {
            look.key(self.user(*user));
        }
        let mut redis = self.redis.clone();
        let answer: Vec<u64> = bounded(look.invoke_async(&mut redis)).await?;
        let (age, online) = answer
            .split_first()
            .ok_or((ErrorKind::UnexpectedReturnType, "an empty answer"))?;
        Ok(View {
            online: users
                .iter()
                .zip(online)
                .filter(|(_, online)| **online == 1)
                .map(|(user, _)| *user)
                .collect(),
            settled: *age >= SETTLE,
        })
    }

    /// Everybody who has a socket on a live pod.
    pub async fn online(&self) -> RedisResult<HashSet<UserId>> {
        let mut redis = self.redis.clone();
        let script = Script::new(LIVE_SCRIPT);
        let live: Vec<String> = bounded(script.key(self.pods()).invoke_async(&mut redis)).await?;
        let mut users = HashSet::new();
        for pod in live {
            users.extend(self.held(&pod).await?);
        }
        Ok(users)
    }

    /// The pods whose lease is over, until [`Leases::forget`].
    pub async fn dead(&self) -> RedisResult<Vec<DeadPod>> {
        let mut redis = self.redis.clone();
        let script = Script::new(DEAD_SCRIPT);
        let names: Vec<String> = bounded(script.key(self.pods()).invoke_async(&mut redis)).await?;
        let mut dead = Vec::with_capacity(names.len());
        for name in names {
            let users = self.held(&name).await?;
            dead.push(DeadPod { name, users });
        }
        Ok(dead)
    }

    /// Removes what a dead pod left, unless it has come back.
    pub async fn forget(&self, pod: &str) -> RedisResult<()> {
        let script = Script::new(FORGET_SCRIPT);
        let mut forget = script.key(self.pods());
        forget.key(self.pod(pod)).arg(pod).arg(self.users());
        bounded(forget.invoke_async(&mut self.redis.clone())).await
    }

    async fn held(&self, pod: &str) -> RedisResult<Vec<UserId>> {
        let mut redis = self.redis.clone();
        let users: Vec<String> = bounded(redis.smembers(self.pod(pod))).await?;
        Ok(users.iter().filter_map(|user| user.parse().ok()).collect())
    }
}

fn lease() -> Duration {
    if planted::bug(Bug::PresenceWithoutTtl) {
        YEAR
    } else {
        LEASE
    }
}

/// The manager may spend its own time on reconnecting.
async fn bounded<T>(command: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(COMMAND, command)
        .await
        .unwrap_or_else(|_| Err((ErrorKind::Io, "Redis does not answer").into()))
}

/// A pod's own side: counts sockets per user and keeps the lease.
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
        let lease = if self.left.load(Ordering::Acquire) {
            0
        } else {
            lease().as_secs()
        };
        let script = Script::new(NOTE_SCRIPT);
        let mut note = script.key(self.leases.pods());
        note.key(self.leases.since())
            .key(self.leases.pod(&self.pod))
            .key(self.leases.user(user))
            .arg(&*self.pod)
            .arg(user.to_string())
            .arg(u8::from(online))
            .arg(lease);
        bounded(note.invoke_async(&mut self.leases.redis.clone())).await
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
