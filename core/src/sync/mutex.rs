//! A mutex that tasks wait for: one permit, and a value for who holds it.
//!
//! Invariant *Held*: who took the permit, and has not given it back, is the only one to touch the value.

#![allow(unsafe_code)] // The value is reached through an `UnsafeCell`, under *Held*.

use core::cell::UnsafeCell;
use core::fmt;
use core::ops::{Deref, DerefMut};

use super::waiters::Waiters;
use crate::shim::const_unless_loom;

/// A value for one task at a time, of any domain; the others wait in the order in which they came.
///
/// It may be held over an `await`, and a [`Condition`](super::Condition) goes with it. A task that is cancelled, fails or panics while it
/// holds it gives it back, and the next finds the value as it was left: there is no poisoning. A task that locks it twice waits for itself,
/// for ever.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{call, run, spawn, platform::Bare, sync::Mutex, yield_now, Config};
/// static TOTAL: Mutex<u64> = Mutex::new(0);
///
/// # let ran = run(&Bare, Config::new(), async {
/// let add = |amount| async move {
///     let mut total = TOTAL.lock().await;
///     let before = *total;
///     yield_now().await; // Nobody else gets at it meanwhile.
///     *total = before + amount;
/// };
/// let (one, two) = (spawn(add(1)), spawn(add(2)));
/// one.await?;
/// two.await?;
/// assert_eq!(*TOTAL.lock().await, 3);
/// # Ok::<_, matou_core::Exit>(())
/// # });
/// # assert!(ran.is_ok());
/// # }
/// ```
///
/// Miou: `Miou.Mutex.t`.
pub struct Mutex<T: ?Sized> {
    waiters: Waiters,
    value: UnsafeCell<T>,
}

// SAFETY: *Held*: one thread at a time reaches the value, so it is sent between them.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: a mutex that moves is held by nobody, as guards and waiters borrow it.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}

impl<T> Mutex<T> {
    const_unless_loom! {
        /// A mutex that nobody holds.
        ///
        /// Miou: `Miou.Mutex.create`.
        pub fn new(value: T) -> Mutex<T> {
            Mutex { waiters: Waiters::new(1), value: UnsafeCell::new(value) }
        }
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until it is this one's turn, and holds the mutex until the guard is dropped. It is handed over: nobody comes in between.
    ///
    /// # Cancellation
    /// Dropped early it leaves the queue; if the mutex was already its own, the next one has it.
    ///
    /// Miou: `Miou.Mutex.lock`.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        self.waiters.wait(1, Waiters::release).await;
        MutexGuard { mutex: self }
    }

    /// Holds the mutex, if nobody holds it or waits for it.
    ///
    /// Miou: `Miou.Mutex.try_lock`.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.waiters.try_take(1).ok()?;
        Some(MutexGuard { mutex: self })
    }

    /// The value of a mutex that nobody else can reach.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Mutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Mutex");
        match self.try_lock() {
            Some(guard) => debug.field("value", &&*guard),
            None => debug.field("value", &format_args!("<locked>")),
        };
        debug.finish()
    }
}

/// The value of a [`Mutex`], until it is dropped.
///
/// Miou: what `Miou.Mutex.unlock` ends.
#[doc(alias = "unlock")]
#[must_use = "the mutex is given back at once when this is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
}

// SAFETY: *Held*: a shared guard gives a shared value. (It is `Send` if the value is, as the mutex is `Sync` then.)
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The mutex that it holds.
    pub fn mutex(&self) -> &'a Mutex<T> {
        self.mutex
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: *Held*.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: *Held*; the guard is borrowed mutably.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.waiters.release(1);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
