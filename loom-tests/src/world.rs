//! What the models are made of: domains with a bell that can be freed, and tasks.
//!
//! A [`Domain`] takes the steps of the real one (`attend_to_arrivals`, `sleep` and the end of `drive`) on the mailbox that ships. Two
//! cells that loom watches stand for memory: the bell's, which the domain frees after `close`, and the mailbox's, which nobody may push
//! to once its domain has ended. Whoever touches one of them later, or without being ordered before the end, is found out.

#![allow(unsafe_code)] // Pushes nodes, and shares what loom watches between threads.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool as StdBool, AtomicUsize as StdUsize, Ordering::Relaxed};

use loom::cell::Cell;
use loom::sync::{Condvar, Mutex};
use matou_core::model::{Asked, Inbox, Node, Seen, Slept as Fell};
use matou_core::platform::Interrupt;

/// Memory that is handed from thread to thread. loom fails where two threads are in it without being ordered, one of them writing.
pub(crate) struct Watched<T>(Cell<T>);

// SAFETY: loom runs one thread at a time, and fails before an access that would race.
unsafe impl<T: Send> Sync for Watched<T> {}

impl<T: Copy> Watched<T> {
    pub(crate) fn new(value: T) -> Self {
        Watched(Cell::new(value))
    }

    pub(crate) fn get(&self) -> T {
        self.0.get()
    }

    pub(crate) fn set(&self, value: T) {
        self.0.set(value);
    }
}

/// A modelled interrupt: it latches, as the contract of `Interrupt` says.
struct Bell {
    rung: Mutex<bool>,
    waiting: Condvar,
    /// Read by who rings, written by who frees.
    freed: Watched<bool>,
    /// How often the domain fell asleep. Not watched: it orders nothing.
    sleeps: StdUsize,
    rings: StdUsize,
}

impl Interrupt for Bell {
    fn interrupt(&self) {
        // Looked at from the first step to the last.
        assert!(!self.freed.get(), "the interrupt was called after it was freed");
        let mut rung = self.rung.lock().unwrap();
        let rings = self.rings.fetch_add(1, Relaxed) + 1;
        assert!(rings <= self.sleeps.load(Relaxed), "a domain was interrupted more often than it slept");
        *rung = true;
        drop(rung);
        self.waiting.notify_one();
        assert!(!self.freed.get(), "the interrupt was freed while it was called");
    }
}

/// How an attempt to sleep went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slept {
    /// A node was there.
    Refused,
    /// A flag was seen after the sleep was published.
    Flagged,
    /// The bell ended it.
    Rung,
    /// It ended by itself: a timer, or no reason.
    ByItself,
}

/// What a sleeping domain waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// The bell.
    Bell,
    /// A time that has come.
    Now,
}

/// A domain, as far as others can see it.
pub(crate) struct Domain {
    inbox: Inbox,
    bell: Bell,
    /// How many threads are in `push` or `ring`. Not watched: it orders nothing.
    inside: StdUsize,
    /// Read by who is about to push, written when the domain has ended.
    ended: Watched<bool>,
}

impl Domain {
    pub(crate) fn new() -> Domain {
        Domain {
            inbox: Inbox::default(),
            inside: StdUsize::new(0),
            bell: Bell {
                rung: Mutex::new(false),
                waiting: Condvar::new(),
                freed: Watched::new(false),
                sleeps: StdUsize::new(0),
                rings: StdUsize::new(0),
            },
            ended: Watched::new(false),
        }
    }

    /// The domain starts: it says what rings it. By its own thread, while others may send already.
    pub(crate) fn start(&self) {
        // SAFETY: called first; the model keeps the bell in place until all threads have been joined.
        unsafe { self.inbox.install(NonNull::from(&self.bell)) };
    }

    /// As `Domain::attend_to_arrivals`.
    pub(crate) fn arrivals(&self) -> Vec<usize> {
        if self.inbox.looks_empty() { Vec::new() } else { self.inbox.take() }
    }

    /// As `Driver::watch`: whether nodes came in so many looks.
    pub(crate) fn watch(&self, looks: usize) -> bool {
        self.inbox.watch(looks)
    }

    /// As `Driver::fall_asleep` and the `select` after it. The caller looks for arrivals afterwards.
    pub(crate) fn sleep(&self, flagged: impl FnOnce() -> bool, until: Until) -> Slept {
        let fell = self.inbox.sleep(|| {
            // loom runs one thread at a time, and switches only where it watches: this is one step with the sleep's publication.
            self.bell.sleeps.fetch_add(1, Relaxed);
            flagged()
        });
        match fell {
            Fell::Refused => return Slept::Refused,
            Fell::Flagged => return Slept::Flagged,
            Fell::Published if until == Until::Now => return Slept::ByItself,
            Fell::Published => {}
        }
        let mut rung = self.bell.rung.lock().unwrap();
        while !*rung {
            rung = self.bell.waiting.wait(rung).unwrap();
        }
        *rung = false;
        Slept::Rung
    }

    /// As the end of `drive`: from here on the bell and the mailbox are gone.
    pub(crate) fn end(&self) {
        self.inbox.close();
        self.bell.freed.set(true);
        self.ended.set(true);
    }

    /// A node whose link the caller owns is put into the inbox.
    pub(crate) fn push(&self, node: &Node) {
        assert!(!self.ended.get(), "a node was pushed to a domain that had ended");
        self.inside.fetch_add(1, Relaxed);
        // SAFETY: the model keeps its nodes in place; that the link is ours and the mailbox is there is what the models show.
        unsafe { self.inbox.push(node) };
        self.inside.fetch_sub(1, Relaxed);
    }

    /// The bell, after a flag. The domain may have ended, as the mailbox outlives it.
    pub(crate) fn ring(&self) {
        self.inside.fetch_add(1, Relaxed);
        self.inbox.ring();
        self.inside.fetch_sub(1, Relaxed);
    }

    /// Whether somebody is in `push` or `ring` at this moment.
    pub(crate) fn is_somebody_inside(&self) -> bool {
        self.inside.load(Relaxed) > 0
    }

    pub(crate) fn sleeps(&self) -> usize {
        self.bell.sleeps.load(Relaxed)
    }

    pub(crate) fn rings(&self) -> usize {
        self.bell.rings.load(Relaxed)
    }
}

/// A task, as far as others can see it: a node, and whether it is in an inbox.
pub(crate) struct Task {
    node: Node,
    /// Somebody has set `QUEUED` and the node was not yet taken. Not watched: it orders nothing.
    in_inbox: StdBool,
}

impl Task {
    pub(crate) fn new(id: usize) -> Task {
        Task { node: Node::new(id), in_inbox: StdBool::new(false) }
    }

    /// One that its maker, on another domain, sends to its home.
    pub(crate) fn sent(id: usize) -> Task {
        Task { node: Node::queued(id), in_inbox: StdBool::new(false) }
    }

    /// Sends one that was made so.
    pub(crate) fn send(&self, home: &Domain) {
        self.push(home);
    }

    /// Whether it was cancelled. By the home domain, before it polls.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    /// As a waker that is used on another domain than the task's.
    pub(crate) fn wake(&self, home: &Domain) -> Asked {
        let asked = self.node.wake();
        self.push_if(asked, home);
        asked
    }

    /// As a parent on another domain.
    pub(crate) fn cancel(&self, home: &Domain) -> Asked {
        let asked = self.node.cancel();
        self.push_if(asked, home);
        asked
    }

    fn push_if(&self, asked: Asked, home: &Domain) {
        if asked == Asked::Push {
            self.push(home);
        }
    }

    fn push(&self, to: &Domain) {
        assert!(!self.in_inbox.swap(true, Relaxed), "a node is in two inboxes");
        to.push(&self.node);
    }

    /// The domain that took the node looks at it.
    pub(crate) fn attend(&self) -> Seen {
        assert!(self.in_inbox.swap(false, Relaxed), "a node was taken that nobody had pushed");
        self.node.attend()
    }

    /// Whether the node is in an inbox, or about to be. By the home domain.
    #[must_use]
    pub(crate) fn end(&self) -> bool {
        self.node.end()
    }

    /// The end is sent to the parent's domain. By the home domain.
    pub(crate) fn pass_on(&self, parent: &Domain) {
        self.node.pass_on();
        self.push(parent);
    }
}
