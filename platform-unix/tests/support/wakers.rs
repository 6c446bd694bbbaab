//! Wakers that do something of their own.

#![allow(unsafe_code)] // The one way to a waker whose clone does something.

use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// A waker that calls this when it is cloned. Its clones do nothing.
pub fn on_clone<F: Fn() + Send + Sync + 'static>(f: F) -> Waker {
    let data = Arc::into_raw(Arc::new(OnClone(f)));
    // SAFETY: what the table's functions take is an `OnClone<F>`, which may go to other threads; *Counted*.
    unsafe { Waker::from_raw(RawWaker::new(data.cast(), OnClone::<F>::VTABLE)) }
}

/// Invariant *Counted*: a waker with its table has a reference, from `Arc::into_raw`, of its own.
struct OnClone<F>(F);

impl<F: Fn() + Send + Sync + 'static> OnClone<F> {
    const VTABLE: &'static RawWakerVTable = &RawWakerVTable::new(Self::clone, Self::drop, Self::wake_by_ref, Self::drop);

    unsafe fn clone(data: *const ()) -> RawWaker {
        // SAFETY: *Counted*: the waker keeps it meanwhile.
        (unsafe { &*data.cast::<Self>() }.0)();
        RawWaker::new(Waker::noop().data(), Waker::noop().vtable())
    }

    unsafe fn wake_by_ref(_data: *const ()) {}

    unsafe fn drop(data: *const ()) {
        // SAFETY: *Counted*: it is this one that goes.
        drop(unsafe { Arc::from_raw(data.cast::<Self>()) });
    }
}
