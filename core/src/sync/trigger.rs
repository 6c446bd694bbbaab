//! A trigger: a signal for one waiter, given once, without a lock.
//!
//! ```text
//!               lock (1)                publish (2)
//!   EMPTY ─────────────────▶ LOCKED ──────────────────▶ WAITING
//!     ▲  ◀── withdraw (3) ──── │ ▲ ────── lock (1) ──────  │
//!     │                        │                           │
//!     └── signal (4) ──▶ SIGNALLED ◀────── signal (4) ─────┘   and who signals wakes
//! ```
//!
//! 1. The waiter takes the slot, to put its waker into it or to take it out.
//! 2. It gives the slot back with the waker in it.
//! 3. It gives the slot back empty.
//! 4. `signal` sets a bit, in one step. If the state was WAITING the slot is the signaller's from then on; if it was LOCKED, the waiter finds
//!    the bit when it gives the slot back.
//!
//! Invariant *Slot*: the waker's slot is touched by who holds LOCKED, or by who set SIGNALLED when it was WAITING, and by `drop`.
//!
//! Source: the protocol of `AtomicWaker` of the futures crates, reduced to a single signal.

#![allow(unsafe_code)] // The slot is shared between threads under *Slot*.

use core::cell::UnsafeCell;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use crate::domain::Domain;
use crate::effect;
use crate::shim::{AtomicU8, Ordering, const_unless_loom, fault};

const EMPTY: u8 = 0;
const WAITING: u8 = 1;
const LOCKED: u8 = 2;
const SIGNALLED: u8 = 4;
/// Somebody waits: there may be one.
const CLAIMED: u8 = 8;

/// A signal for one waiter, given once, from any thread, from an interrupt handler, and from outside the runtime.
///
/// ```
/// # #[cfg(feature = "std")] {
/// use std::sync::Arc;
/// use matou_core::sync::Trigger;
///
/// async fn wait_for_a_thread() {
///     let done = Arc::new(Trigger::new());
///     let thread = std::thread::spawn({
///         let done = done.clone();
///         move || done.signal()
///     });
///     done.wait().await;
///     assert!(thread.join().unwrap());
/// }
/// # }
/// ```
///
/// Miou: `Miou.Trigger.t`.
pub struct Trigger {
    state: AtomicU8,
    slot: UnsafeCell<Option<Waker>>,
}

// SAFETY: `state` is atomic, and the slot is touched under *Slot*; a `Waker` is `Send` and `Sync`.
unsafe impl Sync for Trigger {}

impl Trigger {
    const_unless_loom! {
        /// A trigger that was not signalled.
        ///
        /// Miou: `Miou.Trigger.create`.
        pub fn new() -> Trigger {
            Trigger { state: AtomicU8::new(EMPTY), slot: UnsafeCell::new(None) }
        }
    }

    /// Signals it: `true` the first time, `false` ever after.
    ///
    /// Miou: `Miou.Trigger.signal`.
    pub fn signal(&self) -> bool {
        let published = if fault("trigger_relaxed") { Ordering::Relaxed } else { Ordering::AcqRel };
        let before = self.state.fetch_or(SIGNALLED, published);
        if before & SIGNALLED != 0 {
            return false;
        }
        if before & WAITING != 0 {
            // SAFETY: *Slot*: it was WAITING, and we set SIGNALLED.
            let waker = unsafe { (*self.slot.get()).take() };
            if let Some(waker) = waker {
                Domain::wake(waker);
            }
        }
        true
    }

    /// Whether it was signalled.
    ///
    /// Miou: `Miou.Trigger.is_signaled`.
    #[doc(alias = "is_signaled")]
    pub fn is_signalled(&self) -> bool {
        self.state.load(Ordering::Acquire) & SIGNALLED != 0
    }

    /// Waits for the signal.
    ///
    /// # Panics
    /// When polled while another future waits for the same trigger: it has one waiter at a time. Use a [`Computation`](super::Computation)
    /// for several.
    ///
    /// # Cancellation
    /// Dropped early it leaves the trigger as if it had not waited; another may wait then.
    ///
    /// Miou: `Miou.Trigger.await`.
    #[doc(alias = "await")]
    pub fn wait(&self) -> Wait<'_> {
        Wait { trigger: self, claimed: false }
    }

    /// Puts `waker` into the slot and gives back what was there. `None` if the signal came.
    fn exchange(&self, waker: Option<Waker>) -> Option<Option<Waker>> {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            if state & SIGNALLED != 0 {
                return None;
            }
            debug_assert!(state & LOCKED == 0, "the one waiter alone locks the slot");
            match self.state.compare_exchange_weak(state, CLAIMED | LOCKED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(seen) => state = seen,
            }
        }
        let published = CLAIMED | if waker.is_some() { WAITING } else { EMPTY };
        // SAFETY: *Slot*: we hold LOCKED.
        let old = unsafe { core::mem::replace(&mut *self.slot.get(), waker) };
        if fault("trigger_published_unseen") {
            self.state.swap(published, Ordering::AcqRel);
            return Some(old);
        }
        match self.state.compare_exchange(CLAIMED | LOCKED, published, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(old),
            Err(_signalled) => {
                // SAFETY: *Slot*: who signalled found LOCKED and leaves the slot to us.
                let ours = unsafe { (*self.slot.get()).take() };
                self.state.fetch_and(!LOCKED, Ordering::Release);
                drop(ours);
                drop(old);
                None
            }
        }
    }
}

impl Default for Trigger {
    fn default() -> Self {
        Trigger::new()
    }
}

impl fmt::Debug for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trigger").field("signalled", &self.is_signalled()).finish()
    }
}

/// The future of [`Trigger::wait`].
#[derive(Debug)]
#[must_use = "it waits only when awaited"]
pub struct Wait<'a> {
    trigger: &'a Trigger,
    claimed: bool,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        effect::poll_effect(cx, |cx| {
            if !self.claimed {
                let before = self.trigger.state.fetch_or(CLAIMED, Ordering::AcqRel);
                if before & SIGNALLED != 0 {
                    return Poll::Ready(());
                }
                assert!(before & CLAIMED == 0, "a trigger has one waiter at a time: use a `Computation` for several");
                self.claimed = true;
            }
            match self.trigger.exchange(Some(cx.waker().clone())) {
                Some(old) => {
                    drop(old);
                    Poll::Pending
                }
                None => Poll::Ready(()),
            }
        })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.claimed {
            let old = self.trigger.exchange(None);
            self.trigger.state.fetch_and(!CLAIMED, Ordering::AcqRel);
            drop(old);
        }
    }
}
