//! A computation: a value set once, for any number of waiters.
//!
//! `state` goes from EMPTY to WRITING to DONE. Invariant *Once*: who moved it from EMPTY writes the value, alone, before DONE is published;
//! after DONE the value is never changed, and is shared.

#![allow(unsafe_code)] // The value is written once through an `UnsafeCell`, under *Once*.

use core::cell::UnsafeCell;
use core::fmt;

use super::waiters::{SIGNAL, Waiters};
use crate::shim::{AtomicU8, Ordering, const_unless_loom, fault};

const EMPTY: u8 = 0;
const WRITING: u8 = 1;
const DONE: u8 = 2;

/// A value that is set once, from any thread and from outside the runtime, and that any number of tasks on any domains wait for.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{run, spawn, platform::Bare, sync::Computation, Config};
/// # let ran = run(&Bare, Config::new(), async {
/// let answer = std::rc::Rc::new(Computation::new());
/// let asking = spawn({
///     let answer = answer.clone();
///     async move { *answer.wait().await }
/// });
/// assert_eq!(answer.try_complete(42), Ok(()));
/// assert_eq!(answer.try_complete(43), Err(43));
/// assert_eq!(asking.await.ok(), Some(42));
/// # });
/// # assert!(ran.is_ok());
/// # }
/// ```
///
/// Miou: `'a Miou.Computation.t`.
pub struct Computation<T> {
    state: AtomicU8,
    value: UnsafeCell<Option<T>>,
    waiters: Waiters,
}

// SAFETY: *Once*: the value is written by one thread (`Send`), then shared (`Sync`); the waiters are under a lock.
unsafe impl<T: Send + Sync> Sync for Computation<T> {}
// SAFETY: a computation that moves has no waiters, as they borrow it.
unsafe impl<T: Send> Send for Computation<T> {}

impl<T> Computation<T> {
    const_unless_loom! {
        /// A computation without a value.
        ///
        /// Miou: `Miou.Computation.create`.
        pub fn new() -> Computation<T> {
            Computation { state: AtomicU8::new(EMPTY), value: UnsafeCell::new(None), waiters: Waiters::new(0) }
        }
    }

    /// Sets the value and wakes all who wait.
    ///
    /// # Errors
    /// The value is given back if there is one already, or another thread is setting it.
    ///
    /// Miou: `Miou.Computation.try_return`. Where it may fail too the value is a `Result`: `try_capture f` is `try_complete(f())`, and
    /// `try_cancel` is `try_complete(Err(..))`.
    #[doc(alias = "try_return")]
    #[doc(alias = "try_capture")]
    #[doc(alias = "try_cancel")]
    pub fn try_complete(&self, value: T) -> Result<(), T> {
        let first = if fault("computation_in_two_steps") {
            let first = self.state.load(Ordering::Acquire) == EMPTY;
            self.state.store(WRITING, Ordering::Release);
            first
        } else {
            self.state.compare_exchange(EMPTY, WRITING, Ordering::AcqRel, Ordering::Acquire).is_ok()
        };
        if !first {
            return Err(value);
        }
        // SAFETY: *Once*: we moved it from EMPTY.
        unsafe { *self.value.get() = Some(value) };
        self.state.store(DONE, if fault("computation_relaxed") { Ordering::Relaxed } else { Ordering::Release });
        self.waiters.close();
        Ok(())
    }

    /// The value, if it was set.
    ///
    /// Miou: `Miou.Computation.peek`.
    pub fn peek(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != DONE {
            return None;
        }
        // SAFETY: *Once*: after DONE it is only shared.
        unsafe { (*self.value.get()).as_ref() }
    }

    /// Whether the value was set.
    ///
    /// Miou: `Miou.Computation.is_running`, negated.
    pub fn is_complete(&self) -> bool {
        self.peek().is_some()
    }

    /// Takes the value out of a computation that nobody else holds.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Waits for the value.
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind.
    ///
    /// Miou: `Miou.Computation.await`.
    #[doc(alias = "await")]
    pub async fn wait(&self) -> &T {
        // A wait ends at once when the list is closed, which is done after the value was set.
        self.waiters.wait(SIGNAL, |_, _| ()).await;
        match self.peek() {
            Some(value) => value,
            None => unreachable!("nobody is granted anything before the list is closed"),
        }
    }
}

impl<T> Default for Computation<T> {
    fn default() -> Self {
        Computation::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for Computation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Computation").field("value", &self.peek()).finish()
    }
}
