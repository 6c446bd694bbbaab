//! A notification: "look again".

#![allow(unsafe_code)] // Hands the pin of a future on to the one field that it is made of.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::waiters::{Wait, Waiters};
use crate::shim::const_unless_loom;

/// Wakes who waits for something to have changed. It carries nothing; what changed is kept elsewhere.
///
/// [`notify_one`](Self::notify_one) is not lost when nobody waits: the next to wait goes on at once. Several of them are one.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{run, spawn, platform::Bare, sync::Notify, Config};
/// static RELOAD: Notify = Notify::new();
///
/// # let ran = run(&Bare, Config::new(), async {
/// let reloading = spawn(async {
///     RELOAD.notified().await;
///     "reloaded"
/// });
/// RELOAD.notify_one(); // From any thread, and from a signal's or an interrupt's handler where the lock allows it.
/// assert_eq!(reloading.await.ok(), Some("reloaded"));
/// # });
/// # assert!(ran.is_ok());
/// # }
/// ```
pub struct Notify {
    waiters: Waiters,
}

impl Notify {
    const_unless_loom! {
        /// Nothing has changed yet.
        pub fn new() -> Notify {
            Notify { waiters: Waiters::new(0) }
        }
    }

    /// Waits for a notification. Who came first is notified first.
    ///
    /// # Cancellation
    /// Dropped early it leaves the queue; a [`notify_one`](Self::notify_one) that it was given goes to the next.
    pub fn notified(&self) -> impl Future<Output = ()> {
        Notified { wait: self.waiters.wait(1, |waiters, _| waiters.signal_or_keep()), seen: false }
    }

    /// Wakes the one that waits longest; if nobody waits, the next to wait goes on at once.
    pub fn notify_one(&self) {
        self.waiters.signal_or_keep();
    }

    /// Wakes all that wait now, and nobody who comes later.
    pub fn notify_waiters(&self) {
        self.waiters.sweep();
    }
}

/// Written out: hand-offs are made of it, and an `async` block around a wait costs as much again.
struct Notified<'a> {
    wait: Wait<'a>,
    seen: bool,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: structural pinning of `wait`, which is not moved out of; `Notified` has no `Drop`, and is `Unpin` only if it is.
        let (wait, seen) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.wait), &mut this.seen)
        };
        assert!(!*seen, "a notification was polled after it had come");
        let polled = wait.poll(cx);
        *seen = polled.is_ready();
        polled.map(|_grant| ())
    }
}

impl Default for Notify {
    fn default() -> Self {
        Notify::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify").finish_non_exhaustive()
    }
}
