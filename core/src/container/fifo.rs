//! A queue, first in first out, of chained nodes. One domain touches it.
//!
//! It is the run queue, and the queue of nodes a domain has to look at before anything else.
//!
//! Invariant *Linked*: every node between `head` and `tail` is valid, and its link leads to the next one.

#![allow(unsafe_code)] // Follows raw links between nodes that the caller promised to keep.

use core::cell::Cell;
use core::ptr::NonNull;

use super::Chain;

pub(crate) struct Fifo<C: Chain> {
    head: Cell<Option<NonNull<C::Node>>>,
    tail: Cell<Option<NonNull<C::Node>>>,
}

impl<C: Chain> Fifo<C> {
    pub(crate) const fn new() -> Self {
        Fifo { head: Cell::new(None), tail: Cell::new(None) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.get().is_none()
    }

    /// The first node.
    pub(crate) fn front(&self) -> Option<NonNull<C::Node>> {
        self.head.get()
    }

    /// Adds a node at the end.
    ///
    /// # Safety
    /// The node is valid until it is popped, and is in no other chain of `C`.
    pub(crate) unsafe fn push_back(&self, node: NonNull<C::Node>) {
        // SAFETY: *Linked*: the caller promises the node; `tail` is a node of this queue.
        unsafe {
            C::next(node).set(None);
            match self.tail.replace(Some(node)) {
                Some(tail) => C::next(tail).set(Some(node)),
                None => self.head.set(Some(node)),
            }
        }
    }

    /// Takes the first node.
    pub(crate) fn pop(&self) -> Option<NonNull<C::Node>> {
        let node = self.head.get()?;
        // SAFETY: *Linked*: `head` is a node of this queue.
        let next = unsafe { C::next(node).replace(None) };
        self.head.set(next);
        if next.is_none() {
            self.tail.set(None);
        }
        Some(node)
    }
}
