//! What partitions and their writer agree on.

use tokio_util::sync::CancellationToken;

/// The right to consume one partition. The batch transaction checks `fence`.
#[derive(Clone, Debug)]
pub struct Lease {
    pub partition: u16,
    pub fence: i64,
    /// Cancelled when the partition is to be left, or was lost.
    pub stop: CancellationToken,
}

impl Lease {
    /// The right of this life of the process, and of no other.
    pub fn key(&self) -> (u16, i64) {
        (self.partition, self.fence)
    }
}
