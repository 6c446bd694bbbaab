//! The part of a task that several threads touch: its state word.
//!
//! # The word
//!
//! ```text
//!            wake (1), cancel (2)                 attend (3)
//!   idle ───────────────────────────▶ QUEUED ───────────────────▶ idle, and the home domain looks at the task
//!                                       │
//!                                       │ end (4)
//!                                       ▼
//!   idle ── end (4) ──▶ ENDED    QUEUED | ENDED ── attend (3) ──▶ ENDED
//!                         │
//!                         │ pass_on (5)
//!                         ▼
//!                  QUEUED | ENDED, in the parent's inbox ── attend (3) ──▶ ENDED, and delivered
//! ```
//!
//! `CANCELLED` is set by (2) and stays. Every edge is a single read-modify-write:
//!
//! 1. [`wake`](State::wake), from any thread. After the end it does nothing.
//! 2. [`cancel`](State::cancel), by the parent's domain. After the end it does nothing: the end is on its way.
//! 3. [`attend`](State::attend), by the domain that took the node out of its inbox.
//! 4. [`end`](State::end) or [`end_alone`](State::end_alone), by the home domain, once.
//! 5. [`pass_on`](State::pass_on), by the home domain, if the parent lives elsewhere, when the node is in no inbox.
//!
//! Invariant *Queued*: whoever sets `QUEUED` owns the node's inbox link until it has pushed the node; then the inbox owns it,
//! then who takes it, until `attend` clears the bit. So a node is in at most one inbox.
//!
//! A wake that finds `QUEUED` writes the word all the same: the write is what makes the waker's data visible to the poll that
//! follows `attend`.
//!
//! Above these bits the word counts who holds the task (*Counted*, see [`task`](super)), so that one look tells whether anybody else can
//! touch it: who is alone stays alone, as only a holder makes another. Then an end is no contest, and the last to let go need not ask.

use super::abort;
use crate::shim::{AtomicU32, Ordering, const_unless_loom};

/// The node is in an inbox, or about to be.
const QUEUED: u32 = 1;
/// The parent wants the task dropped.
const CANCELLED: u32 = 2;
/// The task has ended; its subtree too. Wakes do nothing any more.
const ENDED: u32 = 4;
/// One holder.
const HOLDER: u32 = 8;

#[derive(Debug)]
pub(crate) struct State(AtomicU32);

/// What is to be done with the node after a wake or a cancellation.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Send {
    /// The caller has set `QUEUED`: it pushes the node.
    Push,
    /// The node is on its way already: whoever takes it sees what was set.
    OnItsWay,
    /// The task has ended.
    Ended,
}

/// What the domain that took a node finds.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A live task: it was made here, or woken.
    Woken,
    /// A live task that its parent cancelled.
    Cancelled,
    /// A task that has ended.
    Ended,
}

impl State {
    const_unless_loom! {
        /// A task that nobody has pushed, with so many holders.
        pub(crate) fn idle(holders: u32) -> State {
            State(AtomicU32::new(holders * HOLDER))
        }
    }

    const_unless_loom! {
        /// A task whose maker is about to push it, with so many holders.
        pub(crate) fn queued(holders: u32) -> State {
            State(AtomicU32::new((holders * HOLDER) | QUEUED))
        }
    }

    /// One more holder.
    pub(crate) fn retain(&self) {
        let before = self.0.fetch_add(HOLDER, Ordering::Relaxed);
        if before > u32::MAX / 2 {
            abort("2²⁸ wakers of one task: they are being leaked");
        }
    }

    /// One holder less. Whether it was the last, who frees the task.
    #[must_use]
    pub(crate) fn release(&self) -> bool {
        self.is_alone() || self.0.fetch_sub(HOLDER, Ordering::AcqRel) / HOLDER == 1
    }

    /// Whether the caller is the only holder: then what the others did is behind it.
    pub(crate) fn is_alone(&self) -> bool {
        let seen = if cfg!(matou_fault = "alone_relaxed") { Ordering::Relaxed } else { Ordering::Acquire };
        self.0.load(seen) / HOLDER == 1
    }

    /// Edge 1.
    pub(crate) fn wake(&self) -> Send {
        self.request(0)
    }

    /// Edge 2.
    pub(crate) fn cancel(&self) -> Send {
        self.request(CANCELLED)
    }

    fn request(&self, bits: u32) -> Send {
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            if state & ENDED != 0 && !cfg!(matou_fault = "wake_after_end") {
                return Send::Ended;
            }
            if cfg!(matou_fault = "wake_skips_write") && state & (QUEUED | bits) == QUEUED | bits {
                return Send::OnItsWay;
            }
            match self.0.compare_exchange_weak(state, state | QUEUED | bits, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if state & QUEUED == 0 => return Send::Push,
                Ok(_) => return Send::OnItsWay,
                Err(seen) => state = seen,
            }
        }
    }

    /// Sets the mark of a cancellation that no other thread asked for, on a task that was never pushed anywhere.
    #[cfg(feature = "alloc")]
    pub(crate) fn mark_cancelled(&self) {
        self.0.fetch_or(CANCELLED, Ordering::AcqRel);
    }

    /// Edge 3.
    pub(crate) fn attend(&self) -> Found {
        let before = if cfg!(matou_fault = "attend_in_two_steps") {
            // Two operations where one must decide: a cancellation in between is overwritten.
            let before = self.0.load(Ordering::Acquire);
            self.0.store(before & !QUEUED, Ordering::Release);
            before
        } else {
            let seen = if cfg!(matou_fault = "attend_relaxed") { Ordering::Relaxed } else { Ordering::AcqRel };
            self.0.fetch_and(!QUEUED, seen)
        };
        debug_assert!(before & QUEUED != 0, "a node taken from an inbox is marked as queued");
        if before & ENDED != 0 {
            Found::Ended
        } else if before & CANCELLED != 0 {
            Found::Cancelled
        } else {
            Found::Woken
        }
    }

    /// Edge 4. Whether the node is in an inbox, or about to be.
    #[must_use]
    pub(crate) fn end(&self) -> bool {
        if cfg!(matou_fault = "end_in_two_steps") {
            // Two operations where one must decide: a wake in between pushes a node that nobody waits for.
            let queued = self.0.load(Ordering::Acquire) & QUEUED != 0;
            self.0.fetch_or(ENDED, Ordering::AcqRel);
            return queued;
        }
        self.0.fetch_or(ENDED, Ordering::AcqRel) & QUEUED != 0
    }

    /// Edge 4, where the parent lives on the same domain: if nobody else holds the task, nobody else touches the word.
    #[must_use]
    pub(crate) fn end_alone(&self) -> bool {
        let word = self.0.load(if cfg!(matou_fault = "alone_relaxed") { Ordering::Relaxed } else { Ordering::Acquire });
        if word / HOLDER != 1 && !cfg!(matou_fault = "end_alone_unasked") {
            return self.end();
        }
        self.0.store(word | ENDED, Ordering::Release);
        word & QUEUED != 0
    }

    /// Edge 5.
    pub(crate) fn pass_on(&self) {
        let before = self.0.fetch_or(QUEUED, Ordering::AcqRel);
        debug_assert_eq!(before & (QUEUED | ENDED), ENDED);
    }

    /// Whether the node is in an inbox, or about to be.
    #[cfg(feature = "alloc")]
    pub(crate) fn is_queued(&self) -> bool {
        self.0.load(Ordering::Acquire) & QUEUED != 0
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) & CANCELLED != 0
    }
}
