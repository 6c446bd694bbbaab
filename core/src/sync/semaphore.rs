//! A semaphore: a number of permits, given out in the order in which they were asked for.

use core::fmt;

use super::waiters::{Grant, Refused, Waiters};
use crate::shim::const_unless_loom;

/// A number of permits, for so many tasks at a time, of any domains.
///
/// First come, first served: who asks for many is not passed by those who ask for few. Permits may be added from outside the runtime.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{run, spawn, platform::Bare, sync::Semaphore, yield_now, Config};
/// static TWO_AT_A_TIME: Semaphore = Semaphore::new(2);
///
/// # let ran = run(&Bare, Config::new(), async {
/// let download = || async {
///     let _permit = TWO_AT_A_TIME.acquire().await.expect("nobody closes it");
///     yield_now().await;
/// };
/// let downloads = [spawn(download()), spawn(download()), spawn(download())];
/// # for download in downloads { assert!(download.await.is_ok()); }
/// # });
/// # assert!(ran.is_ok());
/// # }
/// ```
pub struct Semaphore {
    waiters: Waiters,
}

impl Semaphore {
    /// The most permits that a semaphore can have.
    pub const MOST_PERMITS: usize = usize::MAX >> 3;

    const_unless_loom! {
        /// A semaphore with so many permits.
        ///
        /// # Panics
        /// If they are more than [`MOST_PERMITS`](Self::MOST_PERMITS).
        #[track_caller]
        pub fn new(permits: usize) -> Semaphore {
            assert!(permits <= Semaphore::MOST_PERMITS, "a semaphore has at most `Semaphore::MOST_PERMITS` permits");
            Semaphore { waiters: Waiters::new(permits) }
        }
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// [`Closed`], if the semaphore is closed.
    ///
    /// # Cancellation
    /// Dropped early it leaves the queue; a permit that was already its own goes to the next.
    pub async fn acquire(&self) -> Result<Permit<'_>, Closed> {
        self.acquire_many(1).await
    }

    /// Waits for several permits at once. More than the semaphore has are waited for until some are added.
    ///
    /// # Errors
    /// [`Closed`], if the semaphore is closed.
    ///
    /// # Panics
    /// If they are more than [`MOST_PERMITS`](Self::MOST_PERMITS), which it never has.
    ///
    /// # Cancellation
    /// As for [`acquire`](Self::acquire).
    pub async fn acquire_many(&self, permits: usize) -> Result<Permit<'_>, Closed> {
        assert!(permits <= Semaphore::MOST_PERMITS, "a semaphore has at most `Semaphore::MOST_PERMITS` permits");
        match self.waiters.wait(permits, Waiters::release).await {
            Grant::Closed => Err(Closed),
            Grant::Granted | Grant::Swept => Ok(Permit { semaphore: self, permits }),
        }
    }

    /// Takes a permit, if there is one and nobody waits.
    ///
    /// # Errors
    /// [`TryAcquireError`] says why not.
    pub fn try_acquire(&self) -> Result<Permit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes several permits, if they are there and nobody waits.
    ///
    /// # Errors
    /// As for [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_many(&self, permits: usize) -> Result<Permit<'_>, TryAcquireError> {
        match self.waiters.try_take(permits) {
            Ok(()) => Ok(Permit { semaphore: self, permits }),
            Err(Refused::Closed) => Err(TryAcquireError::Closed),
            Err(Refused::Busy) => Err(TryAcquireError::NoPermits),
        }
    }

    /// Adds permits, from any thread.
    ///
    /// # Panics
    /// If there would be more than [`MOST_PERMITS`](Self::MOST_PERMITS) to be had.
    #[track_caller]
    pub fn add_permits(&self, permits: usize) {
        let added = self.waiters.try_add(permits, Semaphore::MOST_PERMITS);
        assert!(added, "a semaphore has at most `Semaphore::MOST_PERMITS` permits");
    }

    /// Takes away up to so many of the permits that nobody holds, for good, and says how many it took.
    pub fn forget_permits(&self, permits: usize) -> usize {
        self.waiters.forget(permits)
    }

    /// How many permits nobody holds.
    pub fn available_permits(&self) -> usize {
        self.waiters.permits()
    }

    /// Closes it: who waits, and who asks from now on, gets [`Closed`]. Permits held stay so.
    pub fn close(&self) {
        self.waiters.close();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.waiters.is_closed()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("available_permits", &self.available_permits()).field("closed", &self.is_closed()).finish()
    }
}

/// Permits of a [`Semaphore`], given back when it is dropped.
#[must_use = "the permits are given back at once when this is dropped"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    permits: usize,
}

impl Permit<'_> {
    /// How many permits it stands for.
    pub fn permits(&self) -> usize {
        self.permits
    }

    /// Keeps the permits from ever being given back.
    pub fn forget(mut self) {
        self.permits = 0;
    }

    /// Takes some of the permits into one of its own; `None` if it has not as many.
    pub fn split(&mut self, permits: usize) -> Option<Self> {
        self.permits = self.permits.checked_sub(permits)?;
        Some(Permit { semaphore: self.semaphore, permits })
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.permits > 0 {
            self.semaphore.waiters.release(self.permits);
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("permits", &self.permits).finish()
    }
}

/// The semaphore was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore was closed")
    }
}

impl core::error::Error for Closed {}

/// Why [`Semaphore::try_acquire`] got nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryAcquireError {
    /// The semaphore was closed.
    Closed,
    /// There are too few permits, or others wait for them.
    NoPermits,
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryAcquireError::Closed => Closed.fmt(f),
            TryAcquireError::NoPermits => f.write_str("no permit is free at the moment: `acquire` waits for one"),
        }
    }
}

impl core::error::Error for TryAcquireError {}
