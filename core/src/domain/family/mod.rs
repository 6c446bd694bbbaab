//! The tree of tasks: births, cancellations and ends.
//!
//! # A task's life on its home domain
//!
//! ```text
//!            poll: Ready(Ok)                          no child left
//!   live ──────────────────────▶ closed (normal) ─────────────────────▶ ended ──▶ delivered to the parent
//!    │ │     poll: Ready(Err), panic, a rule broken      no child left    ▲
//!    │ └───▶ closed (abnormal): children cancelled ───────────────────────┤
//!    │                                                    no child left   │
//!    └─ cut: future dropped, ▶ closed (cancelled): children cancelled ────┘
//! ```
//!
//! Between `closed` and `ended` a task waits for its children without being polled. Going down the tree (cancellations) and up (ends)
//! is done by queues and loops, never by recursion: a chain of 100,000 tasks needs no deep stack.
//!
//! | file | what it does |
//! | --- | --- |
//! | `birth` | a new task, and its place in the tree |
//! | `cancel` | the way down |
//! | `end` | the way up |
//! | `forgotten` | what is kept of a child that nobody awaited |
//!
//! Everything here runs on the domain's own thread. What is marked *between polls* is never called while a task is polled; foreign
//! code runs in it with lists in a consistent state.

#![allow(unsafe_code)] // Follows the pointers between parents and children, under *Counted*, *Home*, *Parent* and *Kept* of `task`.

mod birth;
mod cancel;
mod end;
pub(super) mod forgotten;
#[cfg(test)]
#[cfg(all(feature = "std", not(any(loom, shuttle))))]
mod tests;

use core::task::Context;

use super::Domain;
use super::run_queue::Brood;
use crate::id::TaskId;
use crate::task::state::Found;
use crate::task::waker::borrowed;
use crate::task::{self, TaskRef, home};
use crate::trace::Step;

#[cfg(feature = "alloc")]
pub(super) use self::end::uncared;
pub(crate) use self::end::{bury, note_forgotten};

impl Domain {
    /// Looks at what other threads have sent and at what was cancelled here. Between polls. Where there is much of it, it calls `time_is_up` in
    /// between.
    pub(crate) fn attend(&self, mut time_is_up: impl FnMut()) {
        self.attend_to_arrivals();
        // Not asked again for arrivals: senders that never stop must not keep the tasks from running.
        while let Some(node) = self.attending.pop() {
            // SAFETY: *Queued*: marked as queued, so somebody holds it: its home, until it has ended and was taken.
            unsafe { self.attend_to(node) };
            if self.is_time_up() {
                time_is_up();
            }
        }
        #[cfg(feature = "alloc")]
        if self.is_asked() {
            self.answer();
        }
    }

    /// Takes what other threads have sent, and tells them that the domain is awake.
    pub(crate) fn attend_to_arrivals(&self) {
        if !self.mailbox().looks_empty() {
            for node in self.mailbox().take() {
                // SAFETY: *Queued*: taken, so its link is ours until `attend` clears the bit.
                unsafe { self.attend_later(node) };
            }
        }
    }

    /// Has a node looked at before the next poll.
    ///
    /// # Safety
    /// *Queued*: the node's link is the caller's.
    unsafe fn attend_later(&self, node: TaskRef) {
        // SAFETY: promised by the caller.
        unsafe { self.attending.push_back(node) };
        self.pause();
    }

    /// Whether there is nothing to poll, and nothing to attend to.
    pub(crate) fn has_nothing_to_do(&self) -> bool {
        self.runnable.is_empty() && self.attending.is_empty()
    }

    /// Whether what others have sent was taken, and is still to be attended to.
    #[cfg(feature = "alloc")]
    pub(crate) fn has_arrivals(&self) -> bool {
        !self.attending.is_empty()
    }

    /// # Safety
    /// The node was taken from an inbox or a queue by its inbox link.
    unsafe fn attend_to(&self, node: TaskRef) {
        // SAFETY: promised by the caller.
        let header = unsafe { node.as_ref() };
        let ours = self.is_home_of(header);
        match header.state.attend() {
            Found::Woken => self.make_runnable(node),
            Found::Cancelled => self.cut(node),
            // A child of ours on another domain has ended.
            Found::Ended if !ours => {
                self.count_step();
                let parent = self.deliver_arrival(node);
                self.finish_all(parent);
            }
            // A wake, or the parent's cancellation, overtook the end of our task.
            Found::Ended => {
                header.home_flags.clear(home::LIMBO);
                self.limbo.set(self.limbo.get() - 1);
                self.hand_over(node);
            }
        }
    }

    /// Takes the next task from the run queue, if there is one, and polls it.
    pub(crate) fn poll_next(&self, polling: bool) {
        if let Some(task) = self.runnable.pop() {
            self.run_task(task, polling);
        }
    }

    /// The same, where there is nothing to do between two polls. Whether there was one.
    #[inline]
    pub(super) fn poll_one_more(&self) -> bool {
        debug_assert!(!self.runnable.any_cancelled(), "they come before all others");
        let Some(task) = self.runnable.pop_ordinarily() else { return false };
        self.run_task(task, true);
        true
    }

    /// A task was taken from the run queue.
    // There are two places, and one of them is where a domain spends its time. Small processors have small memories.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn run_task(&self, task: TaskRef, polling: bool) {
        // SAFETY: *Counted*: the home domain holds a task that is RUNNABLE.
        let header = unsafe { task.as_ref() };
        header.home_flags.clear(home::RUNNABLE);
        if header.home_flags.has(home::ENDED | home::CLOSED) {
            // Closed, it waits for its children.
            if header.home_flags.has(home::ENDED) {
                self.let_go(task);
            }
        } else if header.state.is_cancelled() {
            self.cut(task);
        } else if polling {
            let brood = header.brood();
            if brood != Brood::NONE {
                header.set_brood(self.runnable.settled(brood));
            }
            self.poll(task);
        }
    }

    #[inline]
    fn poll(&self, task: TaskRef) {
        self.begin_budget();
        // SAFETY: *Stage*: live, on its home domain, so the payload holds a closure or a future.
        let polled = self.run_step(task, Step::Poll, move || {
            // Whoever was told of this step may have cancelled the task.
            // SAFETY: *Counted*.
            if self.is_traced() && unsafe { task.as_ref() }.state.is_cancelled() {
                return core::task::Poll::Pending;
            }
            // SAFETY: as said above.
            unsafe { task::poll(task, &mut Context::from_waker(&borrowed(task))) }
        });
        if let core::task::Poll::Ready(normal) = polled {
            self.completed(task, normal);
        }
    }

    /// Whether this domain has nothing left that leads to a task.
    pub(crate) fn is_empty(&self) -> bool {
        self.has_nothing_to_do() && self.limbo.get() == 0
    }

    /// The task that [`poll_next`](Self::poll_next) takes.
    pub(crate) fn next_runnable(&self) -> Option<TaskId> {
        // SAFETY: *Counted*: the home domain holds a task that is RUNNABLE.
        self.runnable.front().map(|task| unsafe { task.as_ref() }.id)
    }
}
