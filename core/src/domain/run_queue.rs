//! The run queue: the tasks of a domain that are to be polled, in two lines.
//!
//! One line is of those that the event source or a timer has resumed, and of what they spawn meanwhile; the other of all else. Each is first
//! in, first out. The first goes first, so that who has an event to see to does not wait behind a thousand that compute. But it passes
//! the other only on credit: each poll of the other line earns one, and at most `quanta` are saved. So neither line keeps the other from
//! running: over any while, those of the first that passed somebody are at most `quanta` more than those of the second.
//!
//! This is a token bucket (Turner, "New directions in communications", 1986), filled by what it must not starve.

#![allow(unsafe_code)] // Hands nodes to the queues, whose promises its callers make.

use core::cell::Cell;

use crate::container::fifo::Fifo;
use crate::task::{RunChain, TaskRef};

pub(crate) struct RunQueue {
    resumed: Fifo<RunChain>,
    ordinary: Fifo<RunChain>,
    /// How many of `resumed` may pass those of `ordinary`.
    credit: Cell<u32>,
    quanta: u32,
    /// The event source or a timer resumes somebody: whoever comes now has been resumed.
    resuming: Cell<bool>,
    /// The last that was taken had been resumed.
    took_resumed: Cell<bool>,
}

impl RunQueue {
    pub(crate) const fn new(quanta: u32) -> Self {
        RunQueue {
            resumed: Fifo::new(),
            ordinary: Fifo::new(),
            credit: Cell::new(quanta),
            quanta,
            resuming: Cell::new(false),
            took_resumed: Cell::new(false),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.resumed.is_empty() && self.ordinary.is_empty()
    }

    /// Whoever is pushed from now on was resumed by the event source or a timer, or no longer.
    pub(crate) fn set_resuming(&self, resuming: bool) {
        self.resuming.set(resuming);
    }

    /// Adds a task at the end of its line.
    ///
    /// # Safety
    /// The task is valid until it is popped, and not in the queue.
    pub(crate) unsafe fn push(&self, task: TaskRef) {
        let line = if self.resuming.get() { &self.resumed } else { &self.ordinary };
        // SAFETY: promised by the caller.
        unsafe { line.push_back(task) };
    }

    /// Adds a task that the one taken last has just made, at the end of that one's line.
    ///
    /// # Safety
    /// As for `push`.
    pub(crate) unsafe fn push_child(&self, task: TaskRef) {
        let line = if self.took_resumed.get() { &self.resumed } else { &self.ordinary };
        // SAFETY: promised by the caller.
        unsafe { line.push_back(task) };
    }

    /// Adds a task in front of all others.
    ///
    /// # Safety
    /// As for `push`.
    pub(crate) unsafe fn push_front(&self, task: TaskRef) {
        let line = if self.is_resumeds_turn() { &self.resumed } else { &self.ordinary };
        // SAFETY: promised by the caller.
        unsafe { line.push_front(task) };
    }

    /// The task that `pop` takes.
    pub(crate) fn front(&self) -> Option<TaskRef> {
        if self.is_resumeds_turn() { self.resumed.front() } else { self.ordinary.front() }
    }

    /// Takes the next task.
    pub(crate) fn pop(&self) -> Option<TaskRef> {
        let resumed = self.is_resumeds_turn();
        self.took_resumed.set(resumed);
        let credit = self.credit.get();
        if resumed {
            if !self.ordinary.is_empty() {
                self.credit.set(credit - 1);
            }
            return self.resumed.pop();
        }
        if credit < self.quanta {
            self.credit.set(credit + 1);
        }
        self.ordinary.pop()
    }

    fn is_resumeds_turn(&self) -> bool {
        !self.resumed.is_empty() && (self.credit.get() > 0 || self.ordinary.is_empty())
    }
}
