//! Redis as a cache: fast when it is there, and never needed.

mod flights;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, RedisResult};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::RedisArgs;
use crate::metrics as names;

pub use flights::Flights;

/// A command gives up after this …
const COMMAND: Duration = Duration::from_millis(100);
/// … and the next ones are not even tried for this long.
const OPEN: Duration = Duration::from_secs(1);

/// A lazy connection that reconnects by itself. `timeout` bounds each command.
pub fn connect(args: &RedisArgs, timeout: Duration) -> anyhow::Result<ConnectionManager> {
    let (host, port) = args
        .redis_host
        .rsplit_once(':')
        .ok_or_else(|| anyhow::anyhow!("REDIS_HOST must be host:port"))?;
    let info = redis::IntoConnectionInfo::into_connection_info((host, port.parse::<u16>()?))?
        .set_redis_settings(
            redis::RedisConnectionInfo::default()
                .set_username(&args.redis_user)
                .set_password(args.redis_password.expose_secret()),
        );
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout));
    Ok(ConnectionManager::new_lazy_with_config(
        redis::Client::open(info)?,
        config,
    )?)
}

/// Values as JSON below `{cluster}:{service}:`.
#[derive(Clone)]
pub struct Cache {
    redis: ConnectionManager,
    prefix: String,
    breaker: Arc<Breaker>,
}

struct Breaker {
    started: Instant,
    /// Milliseconds since `started` until which Redis is left alone.
    open_until: AtomicU64,
}

impl Cache {
    pub fn new(args: &RedisArgs, cluster: &str, service: &str) -> anyhow::Result<Self> {
        Ok(Self {
            redis: connect(args, COMMAND)?,
            prefix: format!("{cluster}:{service}:"),
            breaker: Arc::new(Breaker {
                started: Instant::now(),
                open_until: AtomicU64::new(0),
            }),
        })
    }

    /// The value, or nothing when it is not there, not readable, or Redis is away.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let key = self.key(key);
        let mut redis = self.redis.clone();
        let bytes: Option<Vec<u8>> = self.guard(redis.get(&key)).await?;
        let result = if bytes.is_some() { "hit" } else { "miss" };
        metrics::counter!(names::CACHE, "result" => result).increment(1);
        serde_json::from_slice(&bytes?).ok()
    }

    /// Keeps the value for `ttl`. Returns whether Redis has it.
    pub async fn set<T: Serialize + Sync>(&self, key: &str, value: &T, ttl: Duration) -> bool {
        let Ok(bytes) = serde_json::to_vec(value) else {
            return false;
        };
        let key = self.key(key);
        let mut redis = self.redis.clone();
        self.guard(redis.pset_ex::<_, _, ()>(&key, bytes, ttl.as_millis() as u64))
            .await
            .is_some()
    }

    pub async fn delete(&self, keys: &[String]) -> bool {
        if keys.is_empty() {
            return true;
        }
        let keys: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
        let mut redis = self.redis.clone();
        self.guard(redis.unlink::<_, ()>(&keys)).await.is_some()
    }

    /// Adds one to a counter: a version that makes all older keys unreachable.
    pub async fn increment(&self, key: &str) -> Option<i64> {
        let key = self.key(key);
        let mut redis = self.redis.clone();
        self.guard(redis.incr(&key, 1)).await
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Runs a command unless the last one failed a moment ago.
    async fn guard<T>(&self, command: impl Future<Output = RedisResult<T>>) -> Option<T> {
        let now = self.breaker.started.elapsed().as_millis() as u64;
        if now < self.breaker.open_until.load(Ordering::Relaxed) {
            metrics::counter!(names::CACHE, "result" => "down").increment(1);
            return None;
        }
        // The manager may spend its own time on reconnecting.
        let outcome = tokio::time::timeout(COMMAND, command).await;
        match outcome {
            Ok(Ok(value)) => Some(value),
            failed => {
                self.breaker
                    .open_until
                    .store(now + OPEN.as_millis() as u64, Ordering::Relaxed);
                metrics::counter!(names::CACHE, "result" => "down").increment(1);
                match failed {
                    Ok(Err(error)) => tracing::warn!(error = %error, "going on without Redis"),
                    _ => tracing::warn!("Redis does not answer; going on without it"),
                }
                None
            }
        }
    }
}
