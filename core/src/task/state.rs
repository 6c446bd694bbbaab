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
use crate::shim::{AtomicU32, Ordering, const_unless_loom, fault};

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
        let before = if fault("retain_in_two_steps") {
            let before = self.0.load(Ordering::Relaxed);
            self.0.store(before + HOLDER, Ordering::Relaxed);
            before
        } else {
            self.0.fetch_add(HOLDER, Ordering::Relaxed)
        };
        if before > u32::MAX / 2 {
            abort("2²⁸ wakers of one task: they are being leaked");
        }
    }

    /// One holder less. Whether it was the last, who frees the task.
    #[must_use]
    pub(crate) fn release(&self) -> bool {
        let order = if fault("release_relaxed") { Ordering::Relaxed } else { Ordering::AcqRel };
        self.is_alone() || self.0.fetch_sub(HOLDER, order) / HOLDER == 1
    }

    /// Whether the caller is the only holder: then what the others did is behind it.
    fn is_alone(&self) -> bool {
        let seen = if fault("alone_relaxed") { Ordering::Relaxed } else { Ordering::Acquire };
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

    /// Edge 4, where the parent lives on the same domain: if all holders but one go with it, and are the caller's, nobody else touches the word.
    #[must_use]
    pub(crate) fn end_alone(&self, going: u32) -> bool {
        let word = self.0.load(if fault("alone_relaxed") { Ordering::Relaxed } else { Ordering::Acquire });
        if word / HOLDER != going + 1 && !fault("end_alone_unasked") {
            self.let_go(going);
            return self.end();
        }
        self.0.store((word - going * HOLDER) | ENDED, Ordering::Release);
        word & QUEUED != 0
    }

    /// So many holders less, of those that the caller has, who keeps another.
    pub(crate) fn let_go(&self, going: u32) {
        self.0.fetch_sub(going * HOLDER, Ordering::AcqRel);
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

    fn at(bits: u32) -> State {
        State(AtomicU32::new(bits))
    }

    fn bits(state: &State) -> u32 {
        state.0.load(Ordering::SeqCst)
    }

    #[test]
    fn a_new_task_is_idle_or_on_its_way() {
        assert_eq!((bits(&State::idle(1)), bits(&State::queued(2))), (HOLDER, (2 * HOLDER) | QUEUED));
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

    /// An end leaves the same, whether somebody else holds the task or not; who is alone is the last to let go.
    #[test]
    fn holders_are_counted_beside_the_edges() {
        for before in 0..8 {
            for holders in 1..3 {
                let word = before | (holders * HOLDER);
                for going in 0..3 {
                    let ended = at(word + going * HOLDER);
                    assert_eq!((ended.end_alone(going), bits(&ended)), (before & QUEUED != 0, word | ENDED), "from {word:b}, {going} go");
                }
                let ended = at(word | ENDED);
                for state in [at(word), ended] {
                    let word = bits(&state);
                    state.retain();
                    assert_eq!(bits(&state), word + HOLDER);
                    for left in (0..=holders).rev() {
                        assert_eq!(state.release(), left == 0, "from {word:b}, {left} left");
                    }
                }
            }
        }
    }

    #[test]
    fn half_of_the_word_is_room_enough() {
        let state = at(u32::MAX / 2);
        state.retain();
        assert_eq!(bits(&state), u32::MAX / 2 + HOLDER);
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
