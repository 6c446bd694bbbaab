//! The one file that names the model checkers.
//!
//! Everything that two threads may touch at once goes through these names. In an ordinary build they are the atomics of
//! `core`; with `--cfg loom` they are loom's, which explores every order in which threads can see each other's steps; with `--cfg shuttle`
//! they are shuttle's, which tries orders by chance, for whole runs that have too many.
//! Values that only one thread touches are plain `Cell`s and need no shim. With the feature `portable-atomic` they are that crate's, for
//! processors that cannot compare and swap.

#[cfg(loom)]
pub(crate) use self::modelled::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize};
#[cfg(not(any(loom, shuttle, feature = "portable-atomic")))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::Ordering;
#[cfg(all(not(any(loom, shuttle)), feature = "portable-atomic"))]
pub(crate) use portable_atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering};
#[cfg(all(shuttle, not(loom)))]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering};

/// Whether this step is to be done wrongly: a seeded fault, which the models must catch. Under a checker, and with `--cfg matou_fault`, the
/// environment names it (`MATOU_FAULT`); an ordinary build has none, and the compiler leaves it out.
#[cfg(not(any(loom, shuttle, matou_fault)))]
pub(crate) const fn fault(_name: &str) -> bool {
    false
}

/// The same, under a checker.
#[cfg(any(loom, shuttle, matou_fault))]
#[allow(unreachable_pub)] // Lent to the models.
pub fn fault(name: &str) -> bool {
    static SEEDED: std::sync::OnceLock<Option<std::string::String>> = std::sync::OnceLock::new();
    SEEDED.get_or_init(|| std::env::var("MATOU_FAULT").ok()).as_deref() == Some(name)
}

/// A counter that publishes nothing, and is therefore not modelled: it may be a static.
#[cfg(not(feature = "portable-atomic"))]
pub(crate) use core::sync::atomic::AtomicUsize as Counter;
#[cfg(feature = "portable-atomic")]
pub(crate) use portable_atomic::AtomicUsize as Counter;

/// loom's atomics, with loads that count.
///
/// loom 0.7 remembers only the last access of each atomic. Where a thread loads and then writes, its own load hides that another thread
/// loaded before, so loom never tries the two the other way round (its issues 166 and 392). Every compare-and-swap loop here begins with such a
/// load. So a load first takes a turn: a read-modify-write of a second atomic, whose order among threads loom does explore, and which,
/// being relaxed, publishes nothing.
#[cfg(loom)]
#[allow(unreachable_pub, missing_docs)] // Two of them are lent to the models.
pub(crate) mod modelled {
    use super::Ordering;

    macro_rules! modelled {
        ($($name:ident $([$generic:ident])? of $value:ty),+ $(,)?) => {$(
            #[derive(Debug)]
            pub struct $name $(<$generic>)? {
                atomic: loom::sync::atomic::$name $(<$generic>)?,
                turn: loom::sync::atomic::AtomicBool,
            }

            impl $(<$generic>)? $name $(<$generic>)? {
                pub fn new(value: $value) -> Self {
                    Self { atomic: loom::sync::atomic::$name::new(value), turn: loom::sync::atomic::AtomicBool::new(false) }
                }

                #[track_caller]
                pub fn load(&self, order: Ordering) -> $value {
                    if !super::fault("loads_take_no_turn") {
                        self.turn.swap(false, Ordering::Relaxed);
                    }
                    self.atomic.load(order)
                }
            }

            impl $(<$generic>)? core::ops::Deref for $name $(<$generic>)? {
                type Target = loom::sync::atomic::$name $(<$generic>)?;

                fn deref(&self) -> &Self::Target {
                    &self.atomic
                }
            }
        )+};
    }
    modelled!(AtomicBool of bool, AtomicPtr[T] of *mut T, AtomicU8 of u8, AtomicU32 of u32, AtomicUsize of usize);
}

/// A cell that is handed from thread to thread: one of them at a time may touch it, and a protocol on an atomic says which.
/// loom checks that.
#[cfg(not(loom))]
pub(crate) use core::cell::Cell as HandedCell;
#[cfg(loom)]
pub(crate) use loom::cell::Cell as HandedCell;

/// Waits a moment for another thread, which is known to be about to do its step. Where there is a system it gives that thread its core: whom
/// one wakes often takes the core over at once, and would spin there while the other cannot go on.
pub(crate) fn pause() {
    #[cfg(all(feature = "std", not(any(loom, shuttle))))]
    std::thread::yield_now();
    #[cfg(all(not(feature = "std"), not(any(loom, shuttle))))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(all(shuttle, not(loom)))]
    shuttle::thread::yield_now();
}

/// Lets a moment pass between two looks at what another thread may write, and keeps the core.
#[cfg(feature = "alloc")]
pub(crate) fn spin() {
    #[cfg(not(any(loom, shuttle)))]
    core::hint::spin_loop();
    #[cfg(any(loom, shuttle))]
    pause();
}

/// What each thread has for itself, under a checker: its threads are not the system's.
#[cfg(loom)]
pub(crate) use loom::thread_local;
#[cfg(all(shuttle, not(loom)))]
pub(crate) use shuttle::thread_local;

/// What tells this modelled thread from the others; never 0.
#[cfg(any(loom, shuttle))]
pub(crate) fn current_thread() -> usize {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    #[cfg(loom)]
    loom::thread::current().id().hash(&mut hasher);
    #[cfg(all(shuttle, not(loom)))]
    shuttle::thread::current().id().hash(&mut hasher);
    hasher.finish() as usize | 1
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
#[cfg(not(any(loom, shuttle, feature = "critical-section")))]
#[derive(Debug)]
pub(crate) struct Lock<T>(spin::Mutex<T>);

#[cfg(not(any(loom, shuttle, feature = "critical-section")))]
impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Lock(spin::Mutex::new(value))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock())
    }
}

/// The same, with interrupts off.
#[cfg(all(not(any(loom, shuttle)), feature = "critical-section"))]
#[derive(Debug)]
pub(crate) struct Lock<T>(critical_section::Mutex<core::cell::RefCell<T>>);

#[cfg(all(not(any(loom, shuttle)), feature = "critical-section"))]
impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Lock(critical_section::Mutex::new(core::cell::RefCell::new(value)))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        critical_section::with(|section| f(&mut self.0.borrow_ref_mut(section)))
    }
}

/// The same, modelled.
#[cfg(any(loom, shuttle))]
#[derive(Debug)]
pub(crate) struct Lock<T>(checked::Mutex<T>);

#[cfg(loom)]
use loom::sync as checked;
#[cfg(all(shuttle, not(loom)))]
use shuttle::sync as checked;

#[cfg(any(loom, shuttle))]
impl<T> Lock<T> {
    const_unless_loom! {
        pub(crate) fn new(value: T) -> Self {
            Lock(checked::Mutex::new(value))
        }
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}
