//! Waiting without a runtime: a node is started and removed by threads that have none.

use std::time::{Duration, Instant};

/// Asks again and again; false when it is not so in time.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no runtime, and the kernel tells nobody"
)]
pub fn wait_until(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !is_so() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}
