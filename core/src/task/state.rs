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
//! 4. [`end`](State::end), by the home domain, once.
//! 5. [`pass_on`](State::pass_on), by the home domain, if the parent lives elsewhere, when the node is in no inbox.
//!
//! Invariant *Queued*: whoever sets `QUEUED` owns the node's inbox link until it has pushed the node; then the inbox owns it,
//! then who takes it, until `attend` clears the bit. So a node is in at most one inbox.
//!
//! A wake that finds `QUEUED` writes the word all the same: the write is what makes the waker's data visible to the poll that
//! follows `attend`.

use crate::shim::{AtomicU8, Ordering, const_unless_loom, fault};

/// The node is in an inbox, or about to be.
const QUEUED: u8 = 1;
/// The parent wants the task dropped.
const CANCELLED: u8 = 2;
/// The task has ended; its subtree too. Wakes do nothing any more.
const ENDED: u8 = 4;

#[derive(Debug)]
pub(crate) struct State(AtomicU8);

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
        /// A task that nobody has pushed.
        pub(crate) fn idle() -> State {
            State(AtomicU8::new(0))
        }
    }

    const_unless_loom! {
        /// A task whose maker is about to push it.
        pub(crate) fn queued() -> State {
            State(AtomicU8::new(QUEUED))
        }
    }

    /// Edge 1.
    pub(crate) fn wake(&self) -> Send {
        self.request(0)
    }

    /// Edge 2.
    pub(crate) fn cancel(&self) -> Send {
        self.request(CANCELLED)
    }

    fn request(&self, bits: u8) -> Send {
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            if state & ENDED != 0 && !fault("wake_after_end") {
                return Send::Ended;
            }
            if fault("request_joins_any") && state & QUEUED != 0 {
                return Send::OnItsWay;
            }
            if fault("wake_skips_write") && state & (QUEUED | bits) == QUEUED | bits {
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
        let before = if fault("attend_in_two_steps") {
            // Two operations where one must decide: a cancellation in between is overwritten.
            let before = self.0.load(Ordering::Acquire);
            self.0.store(before & !QUEUED, Ordering::Release);
            before
        } else {
            let seen = if fault("attend_relaxed") { Ordering::Relaxed } else { Ordering::AcqRel };
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
        if fault("end_in_two_steps") {
            // Two operations where one must decide: a wake in between pushes a node that nobody waits for.
            let queued = self.0.load(Ordering::Acquire) & QUEUED != 0;
            self.0.fetch_or(ENDED, Ordering::AcqRel);
            return queued;
        }
        self.0.fetch_or(ENDED, Ordering::AcqRel) & QUEUED != 0
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

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn at(bits: u8) -> State {
        State(AtomicU8::new(bits))
    }

    fn bits(state: &State) -> u8 {
        state.0.load(Ordering::SeqCst)
    }

    #[test]
    fn a_new_task_is_idle_or_on_its_way() {
        assert_eq!((bits(&State::idle()), bits(&State::queued())), (0, QUEUED));
    }

    /// Every edge from every state: what it answers, and the state after it.
    #[test]
    fn each_edge_from_each_state() {
        for before in 0..8 {
            let [queued, cancelled, ended] = [QUEUED, CANCELLED, ENDED].map(|bit| before & bit == bit);
            let state = at(before);
            assert_eq!(state.is_cancelled(), cancelled);
            #[cfg(feature = "alloc")]
            {
                assert_eq!(state.is_queued(), queued);
                state.mark_cancelled();
                assert_eq!(bits(&state), before | CANCELLED);
            }
            for (edge, requested) in [(State::wake as fn(&State) -> Send, QUEUED), (State::cancel, QUEUED | CANCELLED)] {
                let state = at(before);
                let (answer, after) = match (ended, queued) {
                    (true, _) => (Send::Ended, before),
                    (false, true) => (Send::OnItsWay, before | requested),
                    (false, false) => (Send::Push, before | requested),
                };
                assert_eq!((edge(&state), bits(&state)), (answer, after), "from {before:03b}");
            }
            let state = at(before);
            assert_eq!((state.end(), bits(&state)), (queued, before | ENDED), "from {before:03b}");
            if queued {
                let state = at(before);
                let found = match (ended, cancelled) {
                    (true, _) => Found::Ended,
                    (false, true) => Found::Cancelled,
                    (false, false) => Found::Woken,
                };
                assert_eq!((state.attend(), bits(&state)), (found, before & !QUEUED), "from {before:03b}");
            }
            if ended && !queued {
                let state = at(before);
                state.pass_on();
                assert_eq!(bits(&state), before | QUEUED);
            }
        }
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "marked as queued")]
    fn what_was_in_no_inbox_is_not_attended_to() {
        let _ = at(CANCELLED | ENDED).attend();
    }

    #[test]
    #[cfg(all(feature = "std", debug_assertions))]
    fn only_an_ended_node_in_no_inbox_is_passed_on() {
        for before in (0..8).filter(|before| before & (QUEUED | ENDED) != ENDED) {
            let state = at(before);
            assert!(crate::outcome::catch(|| state.pass_on()).is_err(), "from {before:03b}");
        }
    }
}
