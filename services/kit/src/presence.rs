//! Who has an open socket, as leases in Redis. Each pod says which users it
//! holds and renews one lease for all of them; a pod that dies takes its users
//! with it. users alone decides what that means for others.

use std::collections::HashSet;
use std::time::Duration;

use chat_events::UserId;
use redis::aio::ConnectionManager;
use redis::{AsyncCommands, ErrorKind, RedisResult, Script};
use tokio::time::timeout;

use crate::cache;
use crate::config::RedisArgs;
use crate::planted::{self, Bug};

mod pod;

pub use pod::Presence;

/// A pod's lease; a killed pod's users are offline after it.
const LEASE: Duration = Duration::from_secs(30);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// A Redis that lost everything has every lease again after these seconds: one
/// renewal, and a second more because seconds are counted whole.
const SETTLE: u64 = 7;
const COMMAND: Duration = Duration::from_millis(500);

// Redis' own clock decides, because pods may disagree about the time.

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
