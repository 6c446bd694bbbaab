//! Which domain this thread runs.
//!
//! Under `std` it is kept in a thread-local. Without, there is no such thing, and the program links in one slot per thread of
//! execution, as the crate `critical-section` does for critical sections: see [`Context`].

#![allow(unsafe_code)] // Without `std`, two functions are linked in by name.

use core::ptr::NonNull;

use super::Domain;

#[cfg(feature = "std")]
mod slot {
    use std::cell::Cell;
    use std::ptr;

    use super::Domain;

    #[cfg(not(any(loom, shuttle)))]
    std::thread_local! {
        static CURRENT: Cell<*mut Domain> = const { Cell::new(ptr::null_mut()) };
    }
    #[cfg(any(loom, shuttle))]
    crate::shim::thread_local! {
        static CURRENT: Cell<*mut Domain> = Cell::new(ptr::null_mut());
    }

    pub(super) fn get() -> *mut Domain {
        CURRENT.with(Cell::get)
    }

    pub(super) fn set(domain: *mut Domain) {
        CURRENT.with(|current| current.set(domain));
    }

    #[cfg(not(any(loom, shuttle)))]
    pub(super) fn thread() -> usize {
        CURRENT.with(|current| ptr::from_ref(current).addr())
    }
}

#[cfg(not(feature = "std"))]
mod slot {
    use super::Domain;

    // SAFETY: the signatures are those of `set_context`, the only way to define these two.
    unsafe extern "Rust" {
        safe fn _matou_context_get() -> *mut ();
        safe fn _matou_context_set(value: *mut ());
    }

    pub(super) fn get() -> *mut Domain {
        _matou_context_get().cast()
    }

    pub(super) fn set(domain: *mut Domain) {
        _matou_context_set(domain.cast());
    }

    #[cfg(not(any(loom, shuttle)))]
    pub(super) fn thread() -> usize {
        get().addr()
    }
}

/// One slot for a pointer per thread of execution, for programs without `std`. Link it in with [`set_context`](crate::set_context).
///
/// On a machine with one core and no threads it is one static; where interrupt handlers run, `get` gives null in them.
///
/// # Safety
/// - `get` gives what `set` was last given by the same thread of execution, null before that.
/// - In an interrupt handler `get` gives null.
/// - `set` is only called by this crate.
pub unsafe trait Context {
    /// What was last set on this thread of execution.
    fn get() -> *mut ();
    /// Sets it.
    fn set(value: *mut ());
}

/// Links in the [`Context`] of a program without `std`. Under `std` it defines two functions that nobody calls.
///
/// ```
/// use core::sync::atomic::{AtomicPtr, Ordering};
///
/// struct OneCore;
/// static CURRENT: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
///
/// // SAFETY: one core, one thread, and no interrupt handler wakes tasks.
/// unsafe impl matou_core::Context for OneCore {
///     fn get() -> *mut () {
///         CURRENT.load(Ordering::Relaxed)
///     }
///     fn set(value: *mut ()) {
///         CURRENT.store(value, Ordering::Relaxed);
///     }
/// }
/// matou_core::set_context!(OneCore);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! set_context {
    ($context:ty) => {
        #[unsafe(no_mangle)]
        fn _matou_context_get() -> *mut () {
            <$context as $crate::Context>::get()
        }
        #[unsafe(no_mangle)]
        fn _matou_context_set(value: *mut ()) {
            <$context as $crate::Context>::set(value)
        }
    };
}

pub(super) fn get() -> Option<NonNull<Domain>> {
    NonNull::new(slot::get())
}

/// Whether this thread runs a domain.
pub(crate) fn is_set() -> bool {
    get().is_some()
}

/// What tells this thread from all others at the moment; 0 where it is not known: without `std`, on a thread that runs no domain.
pub(crate) fn current_thread() -> usize {
    #[cfg(any(loom, shuttle))]
    return crate::shim::current_thread();
    #[cfg(not(any(loom, shuttle)))]
    slot::thread()
}

/// Makes `domain` this thread's while `f` runs. Nothing may unwind through it.
pub(crate) fn enter<R>(domain: &Domain, f: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            slot::set(core::ptr::null_mut());
        }
    }
    slot::set(core::ptr::from_ref(domain).cast_mut());
    let _leave = Leave;
    f()
}
