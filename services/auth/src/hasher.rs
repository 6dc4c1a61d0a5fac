//! Password hashes on a bounded pool: a flood of sign-ins must not take the
//! processor and the memory from everything else.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, KeyId, Params, ParamsBuilder, Version};
use chat_events::Code;
use chat_kit::{Problem, metrics as names};
use rustix::process::nice;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::pepper::Pepper;

/// Passwords that may wait for a free core. More are answered with 503.
const WAITING: usize = 64;
const RETRY: Duration = Duration::from_secs(2);
/// The lowest priority that a thread can give itself.
const LAST: i32 = 19;

#[derive(Clone)]
pub struct Hasher {
    inner: Arc<Inner>,
}

struct Inner {
    memory: u32,
    passes: u32,
    places: Arc<Semaphore>,
    cores: Arc<Semaphore>,
    secrets: OnceLock<Secrets>,
}

struct Secrets {
    pepper: Pepper,
    params: Params,
    /// Hash of a password that nobody has.
    nobody: String,
}

/// What came out of a comparison.
pub struct Verdict {
    pub right: bool,
    /// The hash to store instead, when the stored one is weaker than today's.
    pub renewed: Option<String>,
}

/// A place in the pool. Take it before anything that counts, so that a full
/// pool costs the caller nothing.
pub struct Place {
    hasher: Hasher,
    permit: OwnedSemaphorePermit,
}

impl Hasher {
    pub fn new(memory: u32, passes: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            inner: Arc::new(Inner {
                memory,
                passes,
                places: Arc::new(Semaphore::new(cores + WAITING)),
                cores: Arc::new(Semaphore::new(cores)),
                secrets: OnceLock::new(),
            }),
        }
    }

    /// Must be called once before the first password comes.
    pub fn set_pepper(&self, pepper: Pepper) -> anyhow::Result<()> {
        let id = KeyId::new(pepper.id.as_bytes()).map_err(|_| anyhow!("the pepper's id"))?;
        let params = ParamsBuilder::new()
            .m_cost(self.inner.memory)
            .t_cost(self.inner.passes)
            .p_cost(1)
            .keyid(id)
            .build()?;
        let nobody = hash(&pepper, &params, &uuid::Uuid::new_v4().to_string())?;
        let secrets = Secrets {
            pepper,
            params,
            nobody,
        };
        self.inner
            .secrets
            .set(secrets)
            .map_err(|_| anyhow!("the pepper was set before"))
    }

    pub fn place(&self) -> Result<Place, Problem> {
        if self.inner.secrets.get().is_none() {
            return Err(Problem::unavailable(anyhow!("the pepper is not loaded")));
        }
        let permit = self.inner.places.clone().try_acquire_owned().map_err(|_| {
            metrics::counter!(names::HASHES_REFUSED).increment(1);
            Problem::from(Code::Unavailable).retry_after(RETRY)
        })?;
        Ok(Place {
            hasher: self.clone(),
            permit,
        })
    }
}

impl Place {
    pub async fn hash(self, password: SecretString) -> Result<String, Problem> {
        self.run(move |secrets| hash(&secrets.pepper, &secrets.params, password.expose_secret()))
            .await
    }

    /// Compares with the stored hash, or with nobody's, which takes as long.
    pub async fn verify(
        self,
        password: SecretString,
        stored: Option<String>,
    ) -> Result<Verdict, Problem> {
        self.run(move |secrets| secrets.verify(password.expose_secret(), stored.as_deref()))
            .await
    }

    /// The hash of `new` when `current` is right.
    pub async fn replace(
        self,
        current: SecretString,
        stored: String,
        new: SecretString,
    ) -> Result<Option<String>, Problem> {
        self.run(move |secrets| {
            let verdict = secrets.verify(current.expose_secret(), Some(&stored))?;
            verdict
                .right
                .then(|| hash(&secrets.pepper, &secrets.params, new.expose_secret()))
                .transpose()
        })
        .await
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&Secrets) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let Self { hasher, permit } = self;
        let core = hasher
            .inner
            .cores
            .clone()
            .acquire_owned()
            .await
            .map_err(Problem::internal)?;
        let (done, outcome) = oneshot::channel();
        let hash = move || {
            // Everybody else's work comes first. This thread hashes once, which takes
            // far longer than to start it.
            if let Err(error) = nice(LAST) {
                tracing::warn!(error = %error, "passwords are hashed at the usual priority");
            }
            // Held here: a request that is given up must not make room for a
            // second hash beside its own.
            let _held = (core, permit);
            let started = Instant::now();
            let secrets = hasher.inner.secrets.get().context("no pepper")?;
            let outcome = work(secrets);
            metrics::histogram!(names::HASH_SECONDS).record(started.elapsed());
            outcome
        };
        let thread = std::thread::Builder::new().name("hash".into());
        thread
            .spawn(move || done.send(hash()))
            .map_err(Problem::internal)?;
        outcome
            .await
            .map_err(Problem::internal)?
            .map_err(Problem::internal)
    }
}

impl Secrets {
    fn verify(&self, password: &str, stored: Option<&str>) -> anyhow::Result<Verdict> {
        let known = stored.is_some();
        let stored = PasswordHash::new(stored.unwrap_or(&self.nobody)).context("a stored hash")?;
        let params = Params::try_from(&stored)?;
        if params.keyid() != self.params.keyid() {
            // An unreadable hash must not look like a wrong password.
            anyhow::bail!("a hash was made with another pepper");
        }
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let peppered = self.pepper.apply(password);
        let right = match argon.verify_password(peppered.as_ref(), &stored) {
            Ok(()) => known,
            Err(Error::PasswordInvalid) => false,
            Err(error) => return Err(error.into()),
        };
        let weaker =
            params.m_cost() < self.params.m_cost() || params.t_cost() < self.params.t_cost();
        let renewed = (right && weaker)
            .then(|| hash(&self.pepper, &self.params, password))
            .transpose()?;
        Ok(Verdict { right, renewed })
    }
}

/// 16 random bytes of salt, 32 bytes of output.
fn hash(pepper: &Pepper, params: &Params, password: &str) -> anyhow::Result<String> {
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let peppered = pepper.apply(password);
    Ok(argon.hash_password(peppered.as_ref())?.to_string())
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::{Hasher, LAST};
    use crate::pepper::Pepper;

    fn hasher(memory: u32, secret: &[u8]) -> anyhow::Result<Hasher> {
        let hasher = Hasher::new(memory, 2);
        hasher.set_pepper(Pepper::for_test("0badcafe", secret))?;
        Ok(hasher)
    }

    async fn hash(hasher: &Hasher, password: &str) -> String {
        let place = hasher
            .place()
            .unwrap_or_else(|_| panic!("the pool is full"));
        let hash = place.hash(password.into()).await;
        hash.unwrap_or_else(|problem| panic!("{problem:?}"))
    }

    async fn verify(
        hasher: &Hasher,
        password: &str,
        stored: Option<&str>,
    ) -> (bool, Option<String>) {
        let place = hasher
            .place()
            .unwrap_or_else(|_| panic!("the pool is full"));
        let verdict = place
            .verify(password.into(), stored.map(str::to_owned))
            .await
            .unwrap_or_else(|problem| panic!("{problem:?}"));
        (verdict.right, verdict.renewed)
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_with_salt_parameters_and_key_id() -> anyhow::Result<()> {
        let hasher = hasher(19_456, b"pepper")?;
        let (one, two) = (hash(&hasher, "same").await, hash(&hasher, "same").await);
        assert_ne!(one, two);
        assert!(
            one.starts_with("$argon2id$v=19$m=19456,t=2,p=1,keyid="),
            "{one}"
        );
        let parts: Vec<_> = one.split('$').map(str::len).collect();
        // 16 bytes of salt and 32 of output in base64.
        assert_eq!(parts[4..], [22, 43]);
        Ok(())
    }

    #[tokio::test]
    async fn whoever_hashes_lets_everybody_else_go_first() -> anyhow::Result<()> {
        let (hasher, usual) = (hasher(19_456, b"pepper")?, getpriority_process(None)?);
        let place = hasher
            .place()
            .unwrap_or_else(|_| panic!("the pool is full"));
        let priority = place.run(|_| Ok(getpriority_process(None)?)).await;
        assert_eq!(priority.ok(), Some(LAST));
        assert_eq!(getpriority_process(None)?, usual);
        Ok(())
    }

    #[tokio::test]
    async fn only_the_right_password_and_pepper_fit() -> anyhow::Result<()> {
        let ours = hasher(19_456, b"pepper")?;
        let stored = hash(&ours, "right").await;
        assert_eq!(verify(&ours, "right", Some(&stored)).await, (true, None));
        assert!(!verify(&ours, "wrong", Some(&stored)).await.0);
        let other = hasher(19_456, b"another")?;
        assert!(!verify(&other, "right", Some(&stored)).await.0);
        Ok(())
    }

    #[tokio::test]
    async fn a_hash_that_is_weaker_than_todays_is_renewed() -> anyhow::Result<()> {
        let (old, new) = (hasher(19_456, b"pepper")?, hasher(20_480, b"pepper")?);
        let stored = hash(&old, "right").await;
        let (right, renewed) = verify(&new, "right", Some(&stored)).await;
        assert!(right);
        assert!(renewed.is_some_and(|hash| hash.contains("m=20480")));
        assert_eq!(verify(&new, "wrong", Some(&stored)).await, (false, None));
        Ok(())
    }

    #[tokio::test]
    async fn a_full_pool_refuses_at_once() -> anyhow::Result<()> {
        let hasher = hasher(19_456, b"pepper")?;
        let cores = std::thread::available_parallelism()?.get();
        let held: Vec<_> = std::iter::from_fn(|| hasher.place().ok()).collect();
        assert_eq!(held.len(), cores + super::WAITING);
        let refused = hasher.place().err();
        assert!(refused.is_some_and(|problem| problem.retry_after.is_some()));
        drop(held);
        assert!(hasher.place().is_ok());
        Ok(())
    }
}
