//! The one list of waiters on which the rest of [`sync`](super) stands, and the permits that it hands out.
//!
//! A waiter is a node in the future that waits; the list owns no memory. It is edited under a lock that is held for a few instructions,
//! never over a wake, a clone or a destructor: a waker is cloned before the lock is taken, and woken or dropped after it was given back.
//!
//! ```text
//!            poll (1)               grant (2)
//!    IDLE ───────────────▶ LISTED ─────────────▶ GRANTED ── poll (4) ──▶ IDLE, ready
//!     ▲ ▲                   │   └─── sweep (3) ─▶ SWEPT ─── poll (4) ──▶ IDLE, ready
//!     │ └──── leave (5) ────┘                       │
//!     └────────────── leave (6): passed on ─────────┘
//! ```
//!
//! 1. Nothing is to be had: the waiter goes to the end of the list. First come, first served: who finds others waiting waits behind them.
//! 2. `release` has permits for the first in the list, or `signal` chose it: it is taken out and its waker woken. What it was granted is its
//!    own already, so nobody can come in between.
//! 3. `sweep` grants to all that were listed when it began.
//! 4. The future sees what it was granted.
//! 5. The future is dropped: the waiter leaves, and the next may be the first now.
//! 6. The future is dropped after it was granted something, before it saw it: who leaves is told, and passes it on.
//!
//! | used by | permits | asks for |
//! | --- | --- | --- |
//! | `Semaphore`, the free places of a channel | any number | some |
//! | `Mutex`, the turn of a `Lazy` | 1 | 1 |
//! | `Notify`, the values of a channel | at most 1, by `notify` | 1 |
//! | `Condition`, `Computation` | none | a [`SIGNAL`], which no number of permits is |
//!
//! Invariant *Pinned*: a listed waiter stays where it is until it is unlinked, by who takes it out to wake it or by its future's `drop`.
//! All its fields are touched under the list's lock.

#![allow(unsafe_code)] // Follows links between nodes pinned in futures of several threads.

use core::cell::{Cell, UnsafeCell};
use core::future::Future;
use core::marker::PhantomPinned;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll, Waker};

use crate::container::list::List;
use crate::container::{Links, Ring};
use crate::domain::Domain;
use crate::effect;
use crate::shim::{Lock, const_unless_loom, fault};
use crate::task::waker::is_a_tasks;

/// What a waiter asks for that permits cannot give.
pub(super) const SIGNAL: usize = usize::MAX;

struct Waiter {
    links: Links<Waiter>,
    stage: Cell<Stage>,
    needs: Cell<usize>,
    /// How many sweeps there had been when it was listed.
    sweeps: Cell<usize>,
    waker: UnsafeCell<Option<Waker>>,
    _pinned: PhantomPinned,
}

// SAFETY: its fields are touched under the list's lock (*Pinned*); a `Waker` is `Send`.
unsafe impl Send for Waiter {}
// SAFETY: as above.
unsafe impl Sync for Waiter {}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)] // Without gaps, a waiter is made where it stays and not put together elsewhere.
enum Stage {
    Idle,
    Listed,
    Granted,
    Swept,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// With what was asked for: to be given back or passed on by who does not use it.
    Granted,
    /// With the others, by a sweep: nobody misses it.
    Swept,
    /// The list was closed.
    Closed,
}

/// Why nothing was to be had at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Closed,
    Busy,
}

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

struct Listed {
    list: List<Waiting>,
    permits: usize,
    sweeps: usize,
    closed: bool,
}

// SAFETY: the list is reached under the lock alone.
unsafe impl Send for Listed {}

impl Waiter {
    const fn new() -> Self {
        Waiter {
            links: Links::new(),
            stage: Cell::new(Stage::Idle),
            needs: Cell::new(0),
            sweeps: Cell::new(0),
            waker: UnsafeCell::new(None),
            _pinned: PhantomPinned,
        }
    }
}

impl Listed {
    fn take(&mut self, permits: usize) -> Result<(), Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if !self.list.is_empty() || permits > self.permits {
            return Err(Refused::Busy);
        }
        self.permits -= permits;
        Ok(())
    }

    /// What the waiter has come to; `None` while it must wait.
    fn look(&mut self, waiter: &Waiter, needs: usize) -> Option<Grant> {
        match waiter.stage.get() {
            Stage::Granted => {
                waiter.stage.set(Stage::Idle);
                Some(Grant::Granted)
            }
            Stage::Swept => {
                waiter.stage.set(Stage::Idle);
                Some(if self.closed { Grant::Closed } else { Grant::Swept })
            }
            Stage::Listed => None,
            Stage::Idle => match self.take(needs) {
                Ok(()) => Some(Grant::Granted),
                Err(Refused::Closed) => Some(Grant::Closed),
                Err(Refused::Busy) => None,
            },
        }
    }

    /// Puts the waiter at the end of the list, unless it is listed.
    ///
    /// # Safety
    /// *Pinned*: it leaves before it goes.
    unsafe fn enlist(&mut self, waiter: &Waiter, needs: usize) {
        if waiter.stage.replace(Stage::Listed) != Stage::Listed {
            waiter.needs.set(needs);
            waiter.sweeps.set(self.sweeps);
            // SAFETY: *Pinned*, promised by the caller; it was not listed.
            unsafe { self.list.push_back(NonNull::from(waiter)) };
        }
    }

    /// Takes the first out of the list, if it is one that `chosen` says: its waker, for the caller to wake.
    fn pop(&mut self, stage: Stage, chosen: impl FnOnce(&mut Self, &Waiter) -> bool) -> Option<Waker> {
        // SAFETY: *Pinned*: listed; the caller holds the lock.
        let waiter = unsafe { self.list.front()?.as_ref() };
        if !chosen(self, waiter) {
            return None;
        }
        self.list.pop_front();
        waiter.stage.set(stage);
        // SAFETY: *Pinned*, as above. The waker is set while it is listed.
        unsafe { (*waiter.waker.get()).take() }
    }
}

impl Waiters {
    const_unless_loom! {
        pub(super) fn new(permits: usize) -> Waiters {
            Waiters(Lock::new(Listed { list: List::new(), permits, sweeps: 0, closed: false }))
        }
    }

    /// Takes permits that are there and for which nobody waits.
    pub(super) fn try_take(&self, permits: usize) -> Result<(), Refused> {
        self.0.with(|listed| listed.take(permits))
    }

    pub(super) fn permits(&self) -> usize {
        self.0.with(|listed| listed.permits)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.with(|listed| listed.closed)
    }

    /// A wait for permits, or for a [`SIGNAL`]. Dropped after it was granted something that it has not seen, it calls `pass_on`.
    pub(super) fn wait(&self, needs: usize, pass_on: fn(&Waiters, usize)) -> Wait<'_> {
        Wait { waiters: self, waiter: Waiter::new(), needs, pass_on, waits: Cell::new(false) }
    }

    /// Ready when the waiter was granted what it needs; until then it is listed, with the context's waker.
    ///
    /// # Safety
    /// The waiter is pinned. Until it is ready, or left by [`leave`](Self::leave), it is polled with this list only; its owner leaves before it goes.
    unsafe fn poll(&self, waiter: &Waiter, needs: usize, cx: &mut Context<'_>) -> Poll<Grant> {
        let seen = self.0.with(|listed| match listed.look(waiter, needs) {
            Some(grant) => Some(Poll::Ready(grant)),
            None => {
                // SAFETY: *Pinned*; under the lock. Whether two wakers are the same runs no code of theirs.
                let waker = unsafe { &mut *waiter.waker.get() };
                if waker.is_none() && is_a_tasks(cx.waker()) {
                    // Nor does this clone: one look is enough.
                    *waker = Some(cx.waker().clone());
                    // SAFETY: *Pinned*, promised by the caller.
                    unsafe { listed.enlist(waiter, needs) };
                    return Some(Poll::Pending);
                }
                waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())).then_some(Poll::Pending)
            }
        });
        if let Some(seen) = seen {
            return seen;
        }
        let waker = cx.waker().clone();
        let (polled, unused) = self.0.with(|listed| {
            // Granted between the look and this one: who granted it may have found nobody.
            if !fault("waiter_looks_once")
                && let Some(grant) = listed.look(waiter, needs)
            {
                return (Poll::Ready(grant), Some(waker));
            }
            // SAFETY: *Pinned*, promised by the caller.
            unsafe { listed.enlist(waiter, needs) };
            // SAFETY: *Pinned*; under the lock.
            (Poll::Pending, unsafe { (*waiter.waker.get()).replace(waker) })
        });
        // What was granted is not lost to a destructor that panics.
        Domain::drop_waker(unused);
        polled
    }

    /// Takes the waiter out. What it was granted and has not seen is passed on by `pass_on`.
    fn leave(&self, waiter: &Waiter, pass_on: impl FnOnce()) {
        let (stage, waker) = self.0.with(|listed| {
            let stage = waiter.stage.replace(Stage::Idle);
            if stage == Stage::Listed {
                // SAFETY: *Pinned*: listed.
                unsafe { listed.list.remove(NonNull::from(waiter)) };
            }
            // SAFETY: *Pinned*; under the lock.
            (stage, unsafe { (*waiter.waker.get()).take() })
        });
        match stage {
            // It may have been the one for whose needs the permits were too few.
            Stage::Listed => self.release(0),
            Stage::Granted if fault("grant_not_passed_on") => {}
            Stage::Granted => pass_on(),
            Stage::Idle | Stage::Swept => {}
        }
        Domain::drop_waker(waker);
    }

    /// Gives permits, to those who wait first, in their order.
    pub(super) fn release(&self, permits: usize) {
        // So many cannot be there but by those who forget theirs.
        self.0.with(|listed| listed.permits = listed.permits.saturating_add(permits));
        while let Some(waker) = self.0.with(|listed| {
            listed.pop(Stage::Granted, |listed, first| {
                let enough = first.needs.get() <= listed.permits;
                if enough {
                    listed.permits -= first.needs.get();
                }
                enough
            })
        }) {
            Domain::wake(waker);
        }
    }

    /// As `release`, unless there would be more to be had than `most`.
    pub(super) fn try_add(&self, permits: usize, most: usize) -> bool {
        let added = self.0.with(|listed| {
            let sum = listed.permits.checked_add(permits).filter(|&sum| sum <= most);
            listed.permits = sum.unwrap_or(listed.permits);
            sum.is_some()
        });
        self.release(0);
        added
    }

    /// Takes permits away that nobody holds, up to a number; says how many.
    pub(super) fn forget(&self, most: usize) -> usize {
        self.0.with(|listed| {
            let taken = most.min(listed.permits);
            listed.permits -= taken;
            taken
        })
    }

    /// Grants to the one that waits longest, whatever it needs; `false` if nobody waits.
    pub(super) fn signal(&self) -> bool {
        let waker = self.0.with(|listed| listed.pop(Stage::Granted, |_, _| true));
        waker.map(Domain::wake).is_some()
    }

    /// Grants to the one that waits longest; if nobody waits, the next to come finds one permit.
    pub(super) fn signal_or_keep(&self) {
        let waker = self.0.with(|listed| {
            let waker = listed.pop(Stage::Granted, |_, _| true);
            if waker.is_none() {
                listed.permits = 1;
            }
            waker
        });
        if let Some(waker) = waker {
            Domain::wake(waker);
        }
    }

    /// Grants to all that wait now.
    pub(super) fn sweep(&self) {
        let sweep = self.0.with(|listed| {
            listed.sweeps = listed.sweeps.wrapping_add(1);
            listed.sweeps
        });
        self.sweep_before(sweep);
    }

    /// From now on nobody waits: who does is granted [`Grant::Closed`].
    pub(super) fn close(&self) {
        let sweep = self.0.with(|listed| {
            listed.closed = true;
            listed.sweeps = listed.sweeps.wrapping_add(1);
            listed.sweeps
        });
        self.sweep_before(sweep);
    }

    /// The list is in the order of arrival: who was listed after the sweep began, or after another began, is behind all that it is for.
    fn sweep_before(&self, sweep: usize) {
        while let Some(waker) = self.0.with(|listed| {
            listed.pop(Stage::Swept, |_, first| {
                let ahead = sweep.wrapping_sub(first.sweeps.get());
                ahead != 0 && ahead <= usize::MAX / 2
            })
        }) {
            Domain::wake(waker);
        }
    }
}

/// The future of a wait on a list. It is an effect, and is ready at once where permits are there and nobody waits.
pub(super) struct Wait<'a> {
    waiters: &'a Waiters,
    waiter: Waiter,
    needs: usize,
    pass_on: fn(&Waiters, usize),
    /// The waiter is listed, or was granted what it has not seen.
    waits: Cell<bool>,
}

impl Wait<'_> {
    /// Whether it is in the list, or was taken out of it and has not seen why.
    pub(super) fn waits(&self) -> bool {
        self.waits.get()
    }
}

impl Future for Wait<'_> {
    type Output = Grant;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Grant> {
        let this = self.as_ref().get_ref();
        effect::poll_effect(cx, |cx| {
            // SAFETY: *Pinned*: the waiter is a part of this pinned future, is polled here only, and leaves in `drop`.
            let polled = unsafe { this.waiters.poll(&this.waiter, this.needs, cx) };
            this.waits.set(polled.is_pending());
            polled
        })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.waits.get() {
            self.waiters.leave(&self.waiter, || (self.pass_on)(self.waiters, self.needs));
        }
    }
}
