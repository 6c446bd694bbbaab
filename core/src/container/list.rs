//! A circular, doubly linked list of nodes. One domain touches it, and its head is one pointer.
//!
//! It holds a task's children, the children of an `Orphans`, and what a task owns.
//!
//! Invariant *Linked*: every node reachable from `head` is valid, and the links of two neighbours name each other.

#![allow(unsafe_code)] // Follows raw links between nodes that the caller promised to keep.

use core::cell::Cell;
use core::ptr::NonNull;

use super::Ring;

pub(crate) struct List<R: Ring> {
    head: Cell<Option<NonNull<R::Node>>>,
}

impl<R: Ring> List<R> {
    pub(crate) const fn new() -> Self {
        List { head: Cell::new(None) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.get().is_none()
    }

    pub(crate) fn front(&self) -> Option<NonNull<R::Node>> {
        count_asked();
        self.head.get()
    }

    /// The node after this one, `None` after the last.
    ///
    /// # Safety
    /// The node is in this list.
    pub(crate) unsafe fn after(&self, node: NonNull<R::Node>) -> Option<NonNull<R::Node>> {
        count_asked();
        // SAFETY: *Linked*: the caller promises that the node is in this list.
        let next = unsafe { R::links(node) }.next.get();
        next.filter(|&next| Some(next) != self.head.get())
    }

    /// The last node.
    #[cfg(feature = "alloc")]
    pub(crate) fn back(&self) -> Option<NonNull<R::Node>> {
        count_asked();
        // SAFETY: *Linked*: `head` is a node of this list. In a circle, the last is the one before the first.
        self.head.get().and_then(|head| unsafe { R::links(head) }.prev.get())
    }

    /// The node before this one, `None` before the first.
    ///
    /// # Safety
    /// The node is in this list.
    #[cfg(feature = "alloc")]
    pub(crate) unsafe fn before(&self, node: NonNull<R::Node>) -> Option<NonNull<R::Node>> {
        count_asked();
        // SAFETY: *Linked*: the caller promises that the node is in this list.
        if Some(node) == self.head.get() { None } else { unsafe { R::links(node) }.prev.get() }
    }

    /// The first node becomes the last.
    #[cfg(feature = "alloc")]
    pub(crate) fn turn(&self) {
        // SAFETY: *Linked*: `head` is a node of this list.
        self.head.set(self.head.get().and_then(|head| unsafe { R::links(head) }.next.get()));
    }

    /// The last node becomes the first.
    #[cfg(feature = "alloc")]
    pub(crate) fn turn_back(&self) {
        self.head.set(self.back());
    }

    /// Adds a node at the end.
    ///
    /// # Safety
    /// The node is valid until it is removed, and is in no other list of `R`.
    pub(crate) unsafe fn push_back(&self, node: NonNull<R::Node>) {
        match self.head.get() {
            // SAFETY: *Linked*: the caller promises the node; `head` is one of this list, and what is before it is the end.
            Some(head) => unsafe { Self::link_before(head, node) },
            None => {
                // SAFETY: *Linked*: the caller promises the node.
                let links = unsafe { R::links(node) };
                links.prev.set(Some(node));
                links.next.set(Some(node));
                self.head.set(Some(node));
            }
        }
    }

    /// Adds a node in front.
    ///
    /// # Safety
    /// As for `push_back`.
    #[cfg(feature = "alloc")]
    pub(crate) unsafe fn push_front(&self, node: NonNull<R::Node>) {
        // SAFETY: passed on to the caller. In a circle, the first is the one after the last.
        unsafe { self.push_back(node) };
        self.head.set(Some(node));
    }

    /// Adds a node before `place`.
    ///
    /// # Safety
    /// As for `push_back`; `place` is in this list.
    #[cfg(feature = "alloc")]
    pub(crate) unsafe fn insert_before(&self, place: NonNull<R::Node>, node: NonNull<R::Node>) {
        // SAFETY: passed on to the caller.
        unsafe { Self::link_before(place, node) };
        if self.head.get() == Some(place) {
            self.head.set(Some(node));
        }
    }

    /// # Safety
    /// `place` is linked, `node` is valid and is not.
    unsafe fn link_before(place: NonNull<R::Node>, node: NonNull<R::Node>) {
        // SAFETY: *Linked*: neighbours of a linked node are linked.
        unsafe {
            let prev = R::links(place).prev.replace(Some(node));
            R::links(node).prev.set(prev);
            R::links(node).next.set(Some(place));
            if let Some(prev) = prev {
                R::links(prev).next.set(Some(node));
            }
        }
    }

    /// Removes a node.
    ///
    /// # Safety
    /// The node is in this list.
    pub(crate) unsafe fn remove(&self, node: NonNull<R::Node>) {
        // SAFETY: *Linked*: the caller promises that the node is in this list, so it has two neighbours, which are.
        unsafe {
            let links = R::links(node);
            let (prev, next) = (links.prev.take().unwrap_unchecked(), links.next.take().unwrap_unchecked());
            if next == node {
                self.head.set(None);
                return;
            }
            R::links(prev).next.set(Some(next));
            R::links(next).prev.set(Some(prev));
            if self.head.get() == Some(node) {
                self.head.set(Some(next));
            }
        }
    }

    /// Takes the first node.
    pub(crate) fn pop_front(&self) -> Option<NonNull<R::Node>> {
        let node = self.head.get()?;
        // SAFETY: *Linked*: `head` is a node of this list.
        unsafe { self.remove(node) };
        Some(node)
    }
}

/// A node was asked for: tests count that, to see that nothing walks where it should not.
#[inline]
fn count_asked() {
    #[cfg(all(test, feature = "std"))]
    ASKED.set(ASKED.get() + 1);
}

#[cfg(all(test, feature = "std"))]
std::thread_local! {
    /// How many nodes were asked for on this thread, of all lists.
    pub(crate) static ASKED: Cell<usize> = const { Cell::new(0) };
}
