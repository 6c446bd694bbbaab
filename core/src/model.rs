//! What the model checker sees of the lock-free parts: the mailbox over nodes of its own, and a task's state word.
//!
//! Thin wrappers, so that the models run the code that ships.

#![allow(unsafe_code, missing_docs, missing_debug_implementations)] // For the models alone.

use alloc::vec::Vec;
use core::ptr::NonNull;

use crate::container::mailbox::Mailbox;
pub use crate::container::mailbox::Slept;
use crate::container::{Chain, Next};
use crate::platform::Interrupt;
pub use crate::shim::modelled::{AtomicBool, AtomicUsize};
use crate::task::state::State;

/// A node with a state word, as a task has.
pub struct Node {
    next: Next<Node>,
    state: State,
    pub id: usize,
}

enum Nodes {}

// SAFETY: the one link of a node; models keep their nodes alive and in place.
unsafe impl Chain for Nodes {
    type Node = Node;

    unsafe fn next<'a>(node: NonNull<Node>) -> &'a Next<Node> {
        // SAFETY: promised by the caller.
        unsafe { &(*node.as_ptr()).next }
    }
}

// SAFETY: what the protocol under test is there to make true.
unsafe impl Send for Node {}
// SAFETY: as above.
unsafe impl Sync for Node {}

impl Node {
    pub fn new(id: usize) -> Self {
        Node { next: Next::new(None), state: State::idle(), id }
    }

    pub fn wake(&self) -> Asked {
        Asked::from(self.state.wake())
    }

    pub fn cancel(&self) -> Asked {
        Asked::from(self.state.cancel())
    }

    pub fn attend(&self) -> Seen {
        // A domain queues the nodes it took by the same link, and lets go of it before it attends.
        self.next.set(None);
        match self.state.attend() {
            crate::task::state::Found::Woken => Seen::Woken,
            crate::task::state::Found::Cancelled => Seen::Cancelled,
            crate::task::state::Found::Ended => Seen::Ended,
        }
    }

    /// Whether the node is in an inbox, or about to be.
    #[must_use]
    pub fn end(&self) -> bool {
        self.state.end()
    }

    pub fn pass_on(&self) {
        self.state.pass_on();
    }
}

/// What is to be done with a node after a wake or a cancellation.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Push,
    OnItsWay,
    Ended,
}

impl From<crate::task::state::Send> for Asked {
    fn from(sent: crate::task::state::Send) -> Self {
        match sent {
            crate::task::state::Send::Push => Asked::Push,
            crate::task::state::Send::OnItsWay => Asked::OnItsWay,
            crate::task::state::Send::Ended => Asked::Ended,
        }
    }
}

/// What the domain that took a node finds.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Woken,
    Cancelled,
    Ended,
}

/// A domain's mailbox.
pub struct Inbox(Mailbox<Nodes>);

impl Default for Inbox {
    fn default() -> Self {
        Inbox(Mailbox::new())
    }
}

impl Inbox {
    /// # Safety
    /// As `Mailbox::install`.
    pub unsafe fn install(&self, interrupt: NonNull<dyn Interrupt>) {
        // SAFETY: passed on.
        unsafe { self.0.install(interrupt) };
    }

    /// # Safety
    /// As `Mailbox::push`.
    pub unsafe fn push(&self, node: &Node) {
        // SAFETY: passed on.
        unsafe { self.0.push(NonNull::from(node)) };
    }

    /// The ids of the nodes taken, oldest first.
    pub fn take(&self) -> Vec<usize> {
        // SAFETY: a node in an inbox is valid.
        self.0.take().map(|node| unsafe { node.as_ref() }.id).collect()
    }

    pub fn looks_empty(&self) -> bool {
        self.0.looks_empty()
    }

    /// Watches for so many looks.
    pub fn watch(&self, looks: usize) -> bool {
        let mut left = looks;
        self.0.watch(|| {
            left -= 1;
            left > 0
        })
    }

    pub fn sleep(&self, flagged: impl FnOnce() -> bool) -> Slept {
        self.0.sleep(flagged)
    }

    pub fn ring(&self) {
        self.0.ring();
    }

    pub fn close(&self) {
        self.0.close();
    }
}
