//! The pepper: a random key that every password passes through before it is
//! hashed. A copy of the database alone is then not enough to guess passwords.
//! It is stored encrypted under `JWT_KEY`, and again under each new one.

use anyhow::{Context, bail};
use aws_lc_rs::{hmac, rand};
use sqlx::PgPool;

use crate::keys::Keys;

pub struct Pepper {
    /// Stored with each hash, as `keyid`.
    pub id: String,
    key: hmac::Key,
}

const LENGTH: usize = 32;
/// A key that no replica had for a day can open the pepper no more.
const UNUSED: f64 = 86_400.0;

impl Pepper {
    /// Opens the pepper, or makes it at the very first start.
    pub async fn load(pool: &PgPool, keys: &Keys) -> anyhow::Result<Self> {
        let mut transaction = pool.begin().await?;
        // Two replicas that start first must not make two peppers.
        sqlx::query("lock table peppers in exclusive mode")
            .execute(&mut *transaction)
            .await?;
        let rows: Vec<(String, String, Vec<u8>)> =
            sqlx::query_as("select id, sealed_by, sealed from peppers")
                .fetch_all(&mut *transaction)
                .await?;
        let opened = keys.all().find_map(|key| {
            rows.iter()
                .find(|(_, sealed_by, _)| *sealed_by == key.id)
                .map(|(id, _, sealed)| (id.clone(), key.open(id, sealed)))
        });
        let (id, secret) = match opened {
            Some((id, secret)) => (id, secret.context("the pepper is damaged")?),
            None if rows.is_empty() => generate()?,
            None => {
                bail!("the pepper was sealed by another JWT_KEY: set that one as JWT_KEY_PREVIOUS")
            }
        };
        for key in keys.all() {
            sqlx::query(
                "insert into peppers (id, sealed_by, sealed) values ($1, $2, $3)
                 on conflict (sealed_by) do update set used_at = now()",
            )
            .bind(&id)
            .bind(&key.id)
            .bind(key.seal(&id, &secret)?)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(Self::new(id, &secret))
    }

    /// Notes which keys are in use, and forgets those that are not. Not at once:
    /// a replica that has only the old key does not know the new one.
    pub async fn keep_sealed(pool: &PgPool, keys: &Keys) -> sqlx::Result<()> {
        let ids: Vec<&str> = keys.all().map(|key| key.id.as_str()).collect();
        sqlx::query("update peppers set used_at = now() where sealed_by = any($1)")
            .bind(ids)
            .execute(pool)
            .await?;
        sqlx::query("delete from peppers where used_at < now() - make_interval(secs => $1)")
            .bind(UNUSED)
            .execute(pool)
            .await?;
        Ok(())
    }

    fn new(id: String, secret: &[u8]) -> Self {
        Self {
            id,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    pub fn apply(&self, password: &str) -> hmac::Tag {
        hmac::sign(&self.key, password.as_bytes())
    }

    #[cfg(test)]
    pub fn for_test(id: &str, secret: &[u8]) -> Self {
        Self::new(id.to_owned(), secret)
    }
}

fn generate() -> anyhow::Result<(String, Vec<u8>)> {
    let mut secret = vec![0; LENGTH];
    rand::fill(&mut secret)?;
    // Argon2 keeps at most eight bytes of key id.
    let id = format!("{:08x}", uuid::Uuid::new_v4().as_fields().0);
    Ok((id, secret))
}
