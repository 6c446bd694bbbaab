//! The one list of waiters on which the rest of [`sync`](super) stands.
//!
//! A waiter is a node in the future that waits; the list owns no memory. It is edited under a lock that is held for a few instructions,
//! never over a wake, a clone or a destructor.
//!
//! Invariant *Pinned*: a listed waiter stays where it is until it is unlinked, by who takes it out to wake it or by its future's `drop`.
//! All its fields are touched under the list's lock.

#![allow(unsafe_code)] // Follows links between nodes pinned in futures of several threads.

use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomPinned;
use core::ptr::NonNull;
use core::task::Waker;

use crate::container::list::List;
use crate::container::{Links, Ring};
use crate::shim::{Lock, const_unless_loom};

pub(super) struct Waiter {
    links: Links<Waiter>,
    listed: Cell<bool>,
    waker: UnsafeCell<Option<Waker>>,
    _pinned: PhantomPinned,
}

// SAFETY: its fields are touched under the list's lock (*Pinned*); a `Waker` is `Send`.
unsafe impl Send for Waiter {}
// SAFETY: as above.
unsafe impl Sync for Waiter {}

enum Waiting {}

// SAFETY: `links` is used by this list alone; *Pinned*.
unsafe impl Ring for Waiting {
    type Node = Waiter;

    unsafe fn links<'a>(node: NonNull<Waiter>) -> &'a Links<Waiter> {
        // SAFETY: the caller promises that the node is valid.
        unsafe { &(*node.as_ptr()).links }
    }
}

pub(super) struct Waiters(Lock<Listed>);

struct Listed(List<Waiting>);

// SAFETY: the list is reached under the lock alone.
unsafe impl Send for Listed {}

impl Waiter {
    pub(super) const fn new() -> Self {
        Waiter { links: Links::new(), listed: Cell::new(false), waker: UnsafeCell::new(None), _pinned: PhantomPinned }
    }
}

impl Waiters {
    const_unless_loom! {
        pub(super) fn new() -> Waiters {
            Waiters(Lock::new(Listed(List::new())))
        }
    }

    /// Lists the waiter, if it is not, with this waker. What the waker replaces is given back.
    ///
    /// # Safety
    /// The waiter is pinned and is used with this list only; its owner calls [`remove`](Self::remove) before it goes.
    pub(super) unsafe fn wait(&self, waiter: NonNull<Waiter>, waker: Waker) -> Option<Waker> {
        // SAFETY: *Pinned*, promised by the caller; under the lock.
        self.0.with(|list| unsafe {
            if !waiter.as_ref().listed.replace(true) {
                list.0.push_back(waiter);
            }
            (*waiter.as_ref().waker.get()).replace(waker)
        })
    }

    /// Unlists the waiter. Its waker is given back, for the caller to drop.
    ///
    /// # Safety
    /// As for [`wait`](Self::wait).
    pub(super) unsafe fn remove(&self, waiter: NonNull<Waiter>) -> Option<Waker> {
        // SAFETY: *Pinned*, promised by the caller; under the lock.
        self.0.with(|list| unsafe {
            if waiter.as_ref().listed.replace(false) {
                list.0.remove(waiter);
            }
            (*waiter.as_ref().waker.get()).take()
        })
    }

    /// Takes the longest waiting one out: its waker, for the caller to wake. `None` if nobody waits.
    pub(super) fn pop(&self) -> Option<Waker> {
        // SAFETY: *Pinned*: listed; under the lock. The waker is set while it is listed.
        self.0.with(|list| unsafe {
            let waiter = list.0.pop_front()?;
            waiter.as_ref().listed.set(false);
            (*waiter.as_ref().waker.get()).take()
        })
    }
}
