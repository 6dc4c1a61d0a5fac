//! The rows of `replicas` and `partitions`. Only the database's clock counts.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::PgPool;

use crate::lease::Lease;

pub struct Leases {
    pool: PgPool,
    pod: String,
}

impl Leases {
    pub fn new(pool: PgPool, pod: String) -> Self {
        Self { pool, pod }
    }

    /// Says that this replica lives; returns all that do.
    pub async fn beat(&self, lease: Duration) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar(
            "with mine as (
                 insert into replicas (pod, expires_at) values ($1, now() + make_interval(secs => $2))
                 on conflict on constraint replicas_pkey do update set expires_at = excluded.expires_at
                 returning pod
             ), gone as (
                 delete from replicas where pod <> $1 and expires_at < now() - interval '1 minute'
             )
             select pod from replicas where pod <> $1 and expires_at >= now()
             union all select pod from mine",
        )
        .bind(&self.pod)
        .bind(lease.as_secs_f64())
        .fetch_all(&self.pool)
        .await
    }

    /// Others need not wait for this replica's row to expire.
    pub async fn leave(&self) -> sqlx::Result<()> {
        sqlx::query("delete from replicas where pod = $1")
            .bind(&self.pod)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Renews leases; returns the partitions of those that are still ours.
    pub async fn renew(
        &self,
        leases: impl Iterator<Item = &Lease>,
        lease: Duration,
    ) -> sqlx::Result<HashSet<u16>> {
        let (partitions, fences): (Vec<i16>, Vec<i64>) = leases
            .map(|lease| (lease.partition as i16, lease.fence))
            .unzip();
        if partitions.is_empty() {
            return Ok(HashSet::new());
        }
        let kept: Vec<i16> = sqlx::query_scalar(
            "update partitions p set expires_at = now() + make_interval(secs => $4)
             from unnest($2::smallint[], $3::bigint[]) as held (partition, fence)
             where p.partition = held.partition and p.fence = held.fence and p.owner = $1
             returning p.partition",
        )
        .bind(&self.pod)
        .bind(partitions)
        .bind(fences)
        .bind(lease.as_secs_f64())
        .fetch_all(&self.pool)
        .await?;
        Ok(kept.into_iter().map(|partition| partition as u16).collect())
    }

    /// Takes up to `count` partitions that nobody holds. One that is ours
    /// without being in `held` is from this pod's life before, and free as well.
    pub async fn claim(
        &self,
        held: &[u16],
        count: usize,
        lease: Duration,
    ) -> sqlx::Result<Vec<(u16, i64)>> {
        let held: Vec<i16> = held.iter().map(|partition| *partition as i16).collect();
        // `for update` waits for no batch in its commit, it passes by: batches
        // hold the row `for key share`.
        let claimed: Vec<(i16, i64)> = sqlx::query_as(
            "update partitions p
             set owner = $1, fence = p.fence + 1, expires_at = now() + make_interval(secs => $4)
             from (
                 select partition from partitions
                 where owner is null or expires_at < now()
                     or (owner = $1 and partition <> all ($2))
                 order by partition limit $3 for update skip locked
             ) free
             where p.partition = free.partition
             returning p.partition, p.fence",
        )
        .bind(&self.pod)
        .bind(held)
        .bind(count as i64)
        .bind(lease.as_secs_f64())
        .fetch_all(&self.pool)
        .await?;
        Ok(claimed
            .into_iter()
            .map(|(partition, fence)| (partition as u16, fence))
            .collect())
    }

    /// Gives a partition up, unless it is another's already.
    pub async fn release(&self, lease: &Lease) -> sqlx::Result<()> {
        sqlx::query(
            "update partitions set owner = null, expires_at = '-infinity'
             where partition = $1 and fence = $2 and owner = $3",
        )
        .bind(lease.partition as i16)
        .bind(lease.fence)
        .bind(&self.pod)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
