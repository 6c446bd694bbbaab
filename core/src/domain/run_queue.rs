//! The run queue: the tasks of a domain that are to be polled, in two lines. (And, before both, those that were cancelled where nothing else
//! leads to them.)
//!
//! One line is of those that the event source or a timer has resumed, and of what they spawn meanwhile; the other of all else. Each is first
//! in, first out. The first goes first, so that who has an event to see to does not wait behind a thousand that compute. But it passes
//! the other only on credit: each poll of the other line earns one, and at most `quanta` are saved. So neither line keeps the other from
//! running: over any while, those of the first that passed somebody are at most `quanta` more than those of the second.
//!
//! This is a token bucket (Turner, "New directions in communications", 1986), filled by what it must not starve.
//!
//! # Children
//!
//! Children of one task first run in the order of creation (R1), so one may not stand in the faster line while an older one waits in the
//! slower, nor the other way round where the credit is used up. So a task's [`Brood`] says where its youngest children were put, until it is
//! known that they have run: its own turn in that line has come, or the line is empty. Meanwhile the next ones go there, too.

#![allow(unsafe_code)] // Hands nodes to the queues, whose promises its callers make.

use core::cell::Cell;

use crate::container::fifo::Fifo;
use crate::task::{RunChain, TaskRef};

/// Where children of a task may stand that have not run yet, never in both lines: in three bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Brood(u8);

impl Brood {
    /// Nowhere.
    pub(crate) const NONE: Brood = Brood(0);
    /// The other line.
    const ORDINARY: u8 = 1;
    /// In a line, ahead of the task's own next place there.
    const AHEAD: u8 = 2;
    /// In a line, perhaps behind the task's own place there: it was queued already when it made them.
    const AROUND: u8 = 4;

    const fn new(line: Line, queued: bool) -> Brood {
        Brood(if queued { Brood::AROUND } else { Brood::AHEAD } | matches!(line, Line::Ordinary) as u8)
    }

    /// Of one that is somewhere.
    const fn line(self) -> Line {
        if self.0 & Brood::ORDINARY != 0 { Line::Ordinary } else { Line::Resumed }
    }

    pub(crate) const fn to_bits(self) -> u8 {
        self.0
    }

    /// The other way.
    pub(crate) const fn from_bits(bits: u8) -> Brood {
        Brood(bits)
    }
}

/// One of the two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Resumed,
    Ordinary,
}

pub(crate) struct RunQueue {
    /// Cancelled tasks, which are not polled: dropped before anything else runs (R9).
    cancelled: Fifo<RunChain>,
    resumed: Fifo<RunChain>,
    ordinary: Fifo<RunChain>,
    /// How many of `resumed` may pass those of `ordinary`.
    credit: Cell<u32>,
    quanta: u32,
    /// The event source or a timer resumes somebody: whoever comes now has been resumed.
    resuming: Cell<bool>,
    /// Where the last one was taken from.
    took: Cell<Line>,
}

impl RunQueue {
    pub(crate) const fn new(quanta: u32) -> Self {
        RunQueue {
            cancelled: Fifo::new(),
            resumed: Fifo::new(),
            ordinary: Fifo::new(),
            credit: Cell::new(quanta),
            quanta,
            resuming: Cell::new(false),
            took: Cell::new(Line::Ordinary),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ordinary.is_empty() && self.resumed.is_empty() && self.cancelled.is_empty()
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

    /// Adds a child that the task taken last has just made in its poll. `brood` is that task's, and `queued` says whether it was woken since. The
    /// child goes to the line that its maker was taken from, if no older one stands in the other. Gives the brood as it is then, where it is another.
    ///
    /// # Safety
    /// As for `push`.
    #[must_use]
    #[inline]
    pub(crate) unsafe fn push_child(&self, task: TaskRef, brood: Brood, queued: bool) -> Option<Brood> {
        let took = self.took.get();
        let there = Brood::new(took, queued);
        // SAFETY: promised by the caller.
        unsafe {
            // Mostly its last went there, too, or it has none yet.
            if brood == there {
                self.line(took).push_back(task);
                None
            } else if brood == Brood::NONE {
                self.line(took).push_back(task);
                Some(there)
            } else {
                Some(self.push_one_more(task, brood, queued))
            }
        }
    }

    /// # Safety
    /// As for `push`.
    #[inline(never)]
    unsafe fn push_one_more(&self, task: TaskRef, brood: Brood, queued: bool) -> Brood {
        let line = if self.line(brood.line()).is_empty() { self.took.get() } else { brood.line() };
        // SAFETY: promised by the caller.
        unsafe { self.line(line).push_back(task) };
        Brood::new(line, queued)
    }

    /// The task with this brood, which is somewhere, was taken last: its children that stood before it in that line have run. Gives the brood as it
    /// is then.
    #[must_use]
    #[inline]
    pub(crate) fn settled(&self, brood: Brood) -> Brood {
        let took = self.took.get();
        if brood == Brood::new(took, false) {
            // So it is mostly.
            Brood::NONE
        } else if brood.line() == took {
            Brood::new(took, false)
        } else {
            brood
        }
    }

    /// Adds a cancelled task, in front of all others.
    ///
    /// # Safety
    /// As for `push`.
    pub(crate) unsafe fn push_cancelled(&self, task: TaskRef) {
        // SAFETY: promised by the caller.
        unsafe { self.cancelled.push_back(task) };
    }

    /// The task that `pop` takes.
    pub(crate) fn front(&self) -> Option<TaskRef> {
        self.cancelled.front().or_else(|| self.line(self.next_line()).front())
    }

    pub(crate) fn any_cancelled(&self) -> bool {
        !self.cancelled.is_empty()
    }

    /// Takes the next task.
    pub(crate) fn pop(&self) -> Option<TaskRef> {
        self.cancelled.pop().or_else(|| self.pop_ordinarily())
    }

    /// Takes the next of those that were not cancelled.
    #[inline]
    pub(crate) fn pop_ordinarily(&self) -> Option<TaskRef> {
        let line = self.next_line();
        self.took.set(line);
        let credit = self.credit.get();
        match line {
            Line::Resumed if !self.ordinary.is_empty() => self.credit.set(credit - 1),
            Line::Ordinary if credit < self.quanta => self.credit.set(credit + 1),
            _ => {}
        }
        self.line(line).pop()
    }

    #[inline]
    fn next_line(&self) -> Line {
        if !self.resumed.is_empty() && (self.credit.get() > 0 || self.ordinary.is_empty()) { Line::Resumed } else { Line::Ordinary }
    }

    #[inline]
    fn line(&self, line: Line) -> &Fifo<RunChain> {
        match line {
            Line::Resumed => &self.resumed,
            Line::Ordinary => &self.ordinary,
        }
    }
}

#[cfg(all(test, feature = "std", not(any(loom, shuttle))))]
mod tests {
    use core::future::{Ready, ready};
    use core::panic::Location;
    use core::ptr::NonNull;
    use std::boxed::Box;
    use std::sync::Mutex;
    use std::vec::Vec;

    use super::*;
    use crate::container::mailbox::Mailbox;
    use crate::id::{DomainId, TaskId};
    use crate::task::cell::{Heap, Made, TaskCell};
    use crate::task::{Birth, InboxChain, Parent};

    /// For LeakSanitizer: these are never freed, on purpose.
    static LEAKED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

    /// It and its home are leaked: nobody else holds them.
    fn task(number: u64) -> TaskRef {
        let home: &'static Mailbox<InboxChain> = Box::leak(Box::new(Mailbox::new()));
        let id = TaskId::new(DomainId::ZERO, number);
        let birth = Birth { id, home: NonNull::from(home), parent: Parent::NOBODY, born: Location::caller(), held: true, sent: false };
        let task = TaskCell::<Made, Ready<()>, (), Heap>::of_future(&birth, ready(()), ()).boxed();
        LEAKED.lock().unwrap().extend([core::ptr::from_ref(home).addr(), task.as_ptr().addr()]);
        task
    }

    #[test]
    fn r09_whoever_was_cancelled_passes_all_others_whatever_comes_afterwards() {
        for credit in [0, 1] {
            let queue = RunQueue::new(1);
            queue.credit.set(credit);
            let [cancelled, resumed, ordinary] = [0, 1, 2].map(task);
            // SAFETY: they are leaked, and each is pushed once.
            unsafe {
                queue.push_cancelled(cancelled);
                queue.push(ordinary);
                queue.set_resuming(true);
                queue.push(resumed);
            }
            let rest = if credit > 0 { [resumed, ordinary] } else { [ordinary, resumed] };
            for expected in [cancelled, rest[0], rest[1]] {
                assert_eq!((queue.front(), queue.pop()), (Some(expected), Some(expected)));
            }
            assert!(queue.is_empty() && queue.pop().is_none());
        }
    }
}
