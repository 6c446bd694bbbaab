//! Containers that own no memory: their links live in the nodes.
//!
//! A node must be told how it is linked by a type without values, a [`Chain`] (one link) or a [`Ring`] (two), so that one
//! node can be in several containers at a time.

#![allow(unsafe_code)] // Implementing the two traits promises that a node stays where it is while linked.

pub(crate) mod fifo;
pub(crate) mod list;
pub(crate) mod mailbox;
#[cfg(test)]
#[cfg(all(feature = "std", not(loom)))]
mod tests;
pub(crate) mod timer_queue;

use core::cell::Cell;
use core::ptr::NonNull;

use crate::shim::HandedCell;

/// A link to the next node, `None` at the end.
pub(crate) type Next<N> = HandedCell<Option<NonNull<N>>>;

/// Names the one link by which a node is chained.
///
/// # Safety
/// `next` gives the same link for the same node each time, and no other chain uses that link while the node is in this one.
/// A node in a chain is valid and does not move (invariant *Linked*).
pub(crate) unsafe trait Chain {
    /// What is chained.
    type Node;

    /// The node's link.
    ///
    /// # Safety
    /// `node` is valid.
    unsafe fn next<'a>(node: NonNull<Self::Node>) -> &'a Next<Self::Node>;
}

/// The two links of a node in a circular list; both `None` while it is in none.
#[derive(Debug)]
pub(crate) struct Links<N> {
    prev: Cell<Option<NonNull<N>>>,
    next: Cell<Option<NonNull<N>>>,
}

impl<N> Links<N> {
    pub(crate) const fn new() -> Self {
        Links { prev: Cell::new(None), next: Cell::new(None) }
    }
}

/// Names the two links by which a node is in a circular list.
///
/// # Safety
/// As for [`Chain`].
pub(crate) unsafe trait Ring {
    /// What is listed.
    type Node;

    /// The node's links.
    ///
    /// # Safety
    /// `node` is valid.
    unsafe fn links<'a>(node: NonNull<Self::Node>) -> &'a Links<Self::Node>;
}
