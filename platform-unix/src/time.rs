//! Time: sleeping, deadlines, intervals, and the system's monotonic clock.
//!
//! All that a task uses comes from the core: a [`Sleep`] is a node of its domain's timer queue and costs no system call of its own.
//! This platform brings the clock, `CLOCK_MONOTONIC` in nanoseconds, the same one for all domains: an [`Instant`] read on one domain
//! may be compared with one read on another. It has no relation to the calendar, and may stand still while the machine sleeps.
//!
//! A timer never fires early. How late it may be is the system's business; its reactor asks for the exact nanosecond.
//!
//! ```
//! use matou_unix::time::{self, Duration};
//!
//! matou_unix::run(async {
//!     let before = time::now();
//!     time::sleep(Duration::from_millis(2)).await;
//!     assert!(time::now() - before >= Duration::from_millis(2));
//!
//!     let slow = std::future::pending::<()>();
//!     assert!(time::timeout(Duration::from_millis(2), slow).await.is_err());
//! })
//! # .unwrap();
//! ```
//!
//! Miou: `Miou_unix.sleep`.

use rustix::time::{ClockId, clock_gettime};

pub use core::time::Duration;
pub use matou_core::time::*;

/// Pauses of 1 to 64 ms, for who waits for something of which there is no event.
pub(crate) struct Pauses(Duration);

impl Pauses {
    const LONGEST: Duration = Duration::from_millis(64);

    pub(crate) fn new() -> Pauses {
        Pauses(Duration::from_millis(1))
    }

    /// Each is twice as long as the one before.
    pub(crate) async fn next(&mut self) {
        let next = Pauses::LONGEST.min(2 * self.0);
        sleep(std::mem::replace(&mut self.0, next)).await;
    }
}

/// The clock of every domain. From any thread.
pub(crate) fn clock() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    // Both are never negative on this clock, and 2^64 nanoseconds are 584 years.
    Instant::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
