//! A condition variable.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;

use super::mutex::MutexGuard;
use super::waiters::{Grant, SIGNAL, Waiters};
use crate::shim::{const_unless_loom, fault};

/// Where those wait who found, under a [`Mutex`](super::Mutex), that it is not yet time to go on.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{run, spawn, platform::Bare, sync::{Condition, Mutex}, Config};
/// static QUEUE: Mutex<Vec<u32>> = Mutex::new(Vec::new());
/// static NOT_EMPTY: Condition = Condition::new();
///
/// # let ran = run(&Bare, Config::new(), async {
/// let taking = spawn(async {
///     let mut queue = QUEUE.lock().await;
///     loop {
///         match queue.pop() {
///             Some(number) => return number,
///             None => queue = NOT_EMPTY.wait(queue).await,
///         }
///     }
/// });
/// QUEUE.lock().await.push(42);
/// NOT_EMPTY.signal();
/// assert_eq!(taking.await.ok(), Some(42));
/// # });
/// # assert!(ran.is_ok());
/// # }
/// ```
///
/// Miou: `Miou.Condition.t`.
pub struct Condition {
    waiters: Waiters,
}

impl Condition {
    const_unless_loom! {
        /// A condition that nobody waits for.
        ///
        /// Miou: `Miou.Condition.create`.
        pub fn new() -> Condition {
            Condition { waiters: Waiters::new(0) }
        }
    }

    /// Gives the mutex back, waits to be woken by [`signal`](Self::signal) or [`broadcast`](Self::broadcast), and takes it again. Nothing that
    /// is signalled after the mutex was given back is missed.
    ///
    /// What was waited for may be gone again when the mutex is held: look in a loop, or use [`wait_while`](Self::wait_while).
    ///
    /// # Cancellation
    /// Dropped early it does not hold the mutex; a signal that it was given goes to the next who waits.
    ///
    /// Miou: `Miou.Condition.wait`.
    pub async fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let mutex = guard.mutex();
        let mut guard = Some(guard);
        let mut woken = pin!(self.waiters.wait(SIGNAL, pass_on));
        let grant = poll_fn(|cx| {
            if fault("condition_unlocks_first") {
                guard = None;
            }
            let polled = woken.as_mut().poll(cx);
            if woken.waits() {
                // Listed: a signal from now on is for this waiter, too.
                guard = None;
            }
            polled
        })
        .await;
        let signal = (grant == Grant::Granted && !fault("signal_kept_by_who_goes")).then(|| Signal { condition: self });
        let guard = mutex.lock().await;
        core::mem::forget(signal);
        guard
    }

    /// Waits as long as `condition` says so of the value.
    ///
    /// # Cancellation
    /// As for [`wait`](Self::wait).
    pub async fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard).await;
        }
        guard
    }

    /// Wakes the one that waits longest, from any thread; `false` if nobody waits.
    ///
    /// Miou: `Miou.Condition.signal`.
    pub fn signal(&self) -> bool {
        self.waiters.signal()
    }

    /// Wakes all that wait, from any thread.
    ///
    /// Miou: `Miou.Condition.broadcast`.
    pub fn broadcast(&self) {
        self.waiters.sweep();
    }
}

fn pass_on(waiters: &Waiters, _: usize) {
    waiters.signal();
}

/// A signal that was given to who does not hold the mutex yet.
struct Signal<'a> {
    condition: &'a Condition,
}

impl Drop for Signal<'_> {
    fn drop(&mut self) {
        self.condition.signal();
    }
}

impl Default for Condition {
    fn default() -> Self {
        Condition::new()
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").finish_non_exhaustive()
    }
}
