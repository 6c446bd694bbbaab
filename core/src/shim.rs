//! The one file that names the model checker.
//!
//! Everything that two threads may touch at once goes through these names. In an ordinary build they are the atomics of
//! `core`; with `--cfg loom` they are loom's, which explores every order in which threads can see each other's steps.
//! Values that only one thread touches are plain `Cell`s and need no shim.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering};

/// A cell that is handed from thread to thread: one of them at a time may touch it, and a protocol on an atomic says which.
/// loom checks that.
#[cfg(not(loom))]
pub(crate) use core::cell::Cell as HandedCell;
#[cfg(loom)]
pub(crate) use loom::cell::Cell as HandedCell;

/// Waits a moment for another thread, which is known to be about to do its step.
pub(crate) fn pause() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}

/// A `const fn` in an ordinary build; loom's atomics cannot be made at compile time.
macro_rules! const_unless_loom {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:tt)*) -> $output:ty $body:block) => {
        $(#[$attribute])*
        #[cfg(not(loom))]
        $visibility const fn $name($($argument)*) -> $output $body

        $(#[$attribute])*
        #[cfg(loom)]
        $visibility fn $name($($argument)*) -> $output $body
    };
}
pub(crate) use const_unless_loom;

/// The lock of the few lists that several threads edit: the waiters of [`sync`](crate::sync) and the record of a violation.
///
/// It is held for a handful of instructions, never over a wake and never over foreign code. With the feature `critical-section` it is one,
/// so that interrupt handlers may take it too.
#[cfg(not(any(loom, feature = "critical-section")))]
#[derive(Debug)]
pub(crate) struct Lock<T>(spin::Mutex<T>);

#[cfg(not(any(loom, feature = "critical-section")))]
impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Lock(spin::Mutex::new(value))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock())
    }
}

/// The same, with interrupts off.
#[cfg(all(not(loom), feature = "critical-section"))]
#[derive(Debug)]
pub(crate) struct Lock<T>(critical_section::Mutex<core::cell::RefCell<T>>);

#[cfg(all(not(loom), feature = "critical-section"))]
impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Lock(critical_section::Mutex::new(core::cell::RefCell::new(value)))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        critical_section::with(|section| f(&mut self.0.borrow_ref_mut(section)))
    }
}

/// The same, modelled.
#[cfg(loom)]
#[derive(Debug)]
pub(crate) struct Lock<T>(loom::sync::Mutex<T>);

#[cfg(loom)]
impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Lock(loom::sync::Mutex::new(value))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}
