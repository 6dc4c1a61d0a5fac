//! How often somebody may try. Counted in PostgreSQL, by each attempt before it
//! is made, so that many at once are no way around.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use chat_events::Code;
use chat_kit::Problem;
use sqlx::{PgConnection, PgPool};

/// Failures without any delay.
const FREE_FAILURES: i32 = 4;
/// The delay after the fifth failure; it doubles with each one more …
const FIRST_DELAY: f64 = 1.0;
/// … up to this. An account is never locked for good.
const LONGEST_DELAY: f64 = 900.0;
/// Failures are forgotten when nobody tried for so long.
const FORGET: f64 = 86_400.0;
const MINUTE: f64 = 60.0;

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    SignIn,
    SignUp,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::SignUp => "sign-up",
        }
    }
}

/// A token bucket per address: `per_minute` at once, and then one after the other.
pub async fn admit_address(
    pool: &PgPool,
    kind: Kind,
    address: IpAddr,
    per_minute: u32,
) -> Result<(), Problem> {
    let address = bucket(address);
    let step = MINUTE / f64::from(per_minute);
    let admitted: Option<bool> = sqlx::query_scalar(
        "insert into address_throttles as t (kind, address, full_at)
         values ($1, $2, clock_timestamp() + make_interval(secs => $3))
         on conflict (kind, address) do update
             set full_at = greatest(t.full_at, clock_timestamp()) + make_interval(secs => $3)
             where greatest(t.full_at, clock_timestamp()) + make_interval(secs => $3)
                 <= clock_timestamp() + make_interval(secs => $4)
         returning true",
    )
    .bind(kind.name())
    .bind(&address)
    .bind(step)
    .bind(MINUTE)
    .fetch_optional(pool)
    .await?;
    if admitted.is_some() {
        return Ok(());
    }
    let wait: Option<f64> = sqlx::query_scalar(
        "select extract(epoch from full_at + make_interval(secs => $3 - $4) - clock_timestamp())::float8
         from address_throttles where kind = $1 and address = $2",
    )
    .bind(kind.name())
    .bind(&address)
    .bind(step)
    .bind(MINUTE)
    .fetch_optional(pool)
    .await?;
    Err(throttled(wait))
}

/// Counts an attempt on an account as failed until [`forgive`] is called.
pub async fn admit_account(pool: &PgPool, subject: &[u8]) -> Result<(), Problem> {
    let admitted: Option<bool> = sqlx::query_scalar(
        "insert into account_throttles as t (subject, failures, free_at)
         values ($1, 1, clock_timestamp())
         on conflict (subject) do update
             set failures = case
                     when t.free_at < clock_timestamp() - make_interval(secs => $5) then 1
                     else t.failures + 1
                 end,
                 free_at = clock_timestamp() + make_interval(secs => case
                     when t.failures + 1 <= $2
                         or t.free_at < clock_timestamp() - make_interval(secs => $5) then 0
                     else least($4, $3 * power(2, least(t.failures - $2, 30)))
                 end)
             where t.free_at <= clock_timestamp()
         returning true",
    )
    .bind(subject)
    .bind(FREE_FAILURES)
    .bind(FIRST_DELAY)
    .bind(LONGEST_DELAY)
    .bind(FORGET)
    .fetch_optional(pool)
    .await?;
    if admitted.is_some() {
        return Ok(());
    }
    let wait: Option<f64> = sqlx::query_scalar(
        "select extract(epoch from free_at - clock_timestamp())::float8
         from account_throttles where subject = $1",
    )
    .bind(subject)
    .fetch_optional(pool)
    .await?;
    Err(throttled(wait))
}

/// The right password came.
pub async fn forgive(transaction: &mut PgConnection, subject: &[u8]) -> sqlx::Result<()> {
    sqlx::query("delete from account_throttles where subject = $1")
        .bind(subject)
        .execute(transaction)
        .await?;
    Ok(())
}

/// Removes counters that no longer count.
pub async fn sweep(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::query("delete from address_throttles where full_at < clock_timestamp()")
        .execute(pool)
        .await?;
    sqlx::query(
        "delete from account_throttles where free_at < clock_timestamp() - make_interval(secs => $1)",
    )
    .bind(FORGET)
    .execute(pool)
    .await?;
    Ok(())
}

fn throttled(wait: Option<f64>) -> Problem {
    let wait = Duration::try_from_secs_f64(wait.unwrap_or_default()).unwrap_or_default();
    Problem::from(Code::Throttled).retry_after(wait)
}

/// Who shares a bucket: one IPv4 address, or one IPv6 network of a household.
fn bucket(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let network = u128::from(v6) >> 64 << 64;
            format!("{}/64", Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn an_ipv6_network_is_one_address_and_an_ipv4_address_is_its_own() -> anyhow::Result<()> {
        assert_eq!(
            bucket("2001:db8:1:2::1".parse()?),
            bucket("2001:db8:1:2:ffff::9".parse()?)
        );
        assert_ne!(
            bucket("2001:db8:1:2::1".parse()?),
            bucket("2001:db8:1:3::1".parse()?)
        );
        assert_eq!(bucket("::ffff:192.0.2.1".parse()?), "192.0.2.1");
        assert_ne!(bucket("192.0.2.1".parse()?), bucket("192.0.2.2".parse()?));
        Ok(())
    }
}
