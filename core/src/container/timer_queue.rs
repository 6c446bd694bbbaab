//! The timers of one domain: a pairing heap of nodes that live in the futures that wait.
//!
//! A pairing heap (Fredman, Sedgewick, Sleator, Tarjan, "The pairing heap", Algorithmica 1986) needs no memory of its own: three
//! links a node. The earliest deadline is at the root; adding is O(1), removing any node O(log n) amortised, and nothing walks all
//! timers but [`TimerQueue::clear`]. Timers with one deadline fire in the order in which they were added (`order` decides).
//!
//! Invariant *Pinned*: a node that is linked stays where it is until it is unlinked, and so does its queue; its future unlinks it when it
//! is dropped, and the domain unlinks all before it goes. A node stays on its domain's thread.
//!
//! Links: `child` leads to the first child, `next` to the next sibling, `prev` to the previous sibling or, for a first child, to
//! the parent. The root has neither `prev` nor `next`.

#![allow(unsafe_code)] // Follows raw links between nodes pinned in futures.

use core::cell::Cell;
use core::marker::PhantomPinned;
use core::ptr::NonNull;
use core::task::Waker;

use crate::time::Instant;

pub(crate) struct TimerNode {
    deadline: Cell<Instant>,
    order: Cell<u64>,
    /// The queue it is linked in. Asked of the node and not of the thread, which may run several domains in turn.
    queue: Cell<Option<NonNull<TimerQueue>>>,
    child: Cell<Option<NonNull<TimerNode>>>,
    next: Cell<Option<NonNull<TimerNode>>>,
    prev: Cell<Option<NonNull<TimerNode>>>,
    waker: Cell<Option<Waker>>,
    _pinned: PhantomPinned,
}

impl TimerNode {
    pub(crate) const fn new(deadline: Instant) -> Self {
        TimerNode {
            deadline: Cell::new(deadline),
            order: Cell::new(0),
            queue: Cell::new(None),
            child: Cell::new(None),
            next: Cell::new(None),
            prev: Cell::new(None),
            waker: Cell::new(None),
            _pinned: PhantomPinned,
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline.get()
    }

    /// Sets another deadline. The node is not linked.
    pub(crate) fn set_deadline(&self, deadline: Instant) {
        debug_assert!(!self.is_linked());
        self.deadline.set(deadline);
    }

    pub(crate) fn is_linked(&self) -> bool {
        self.queue.get().is_some()
    }

    /// Leaves the queue it is linked in, if it is. On that queue's thread.
    pub(crate) fn unlink(&self) {
        if let Some(queue) = self.queue.get() {
            // SAFETY: *Pinned*: a queue outlives its nodes' links, and the node is linked in this one.
            unsafe { queue.as_ref().remove(NonNull::from(self)) };
        }
    }

    /// Keeps the waker; what it replaces is given back, for the caller to drop where foreign code may run.
    pub(crate) fn set_waker(&self, waker: Option<Waker>) -> Option<Waker> {
        self.waker.replace(waker)
    }

    fn before(&self, other: &TimerNode) -> bool {
        (self.deadline.get(), self.order.get()) < (other.deadline.get(), other.order.get())
    }
}

pub(crate) struct TimerQueue {
    root: Cell<Option<NonNull<TimerNode>>>,
    added: Cell<u64>,
}

impl TimerQueue {
    pub(crate) const fn new() -> Self {
        TimerQueue { root: Cell::new(None), added: Cell::new(0) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.root.get().is_none()
    }

    /// The earliest deadline.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        // SAFETY: *Pinned*: the root is linked.
        self.root.get().map(|root| unsafe { root.as_ref() }.deadline.get())
    }

    /// Adds a timer.
    ///
    /// # Safety
    /// The node is not linked, and is pinned until it is unlinked (*Pinned*); so is this queue.
    pub(crate) unsafe fn insert(&self, node: NonNull<TimerNode>) {
        // SAFETY: *Pinned*, promised by the caller.
        let timer = unsafe { node.as_ref() };
        debug_assert!(!timer.is_linked());
        self.added.set(self.added.get() + 1);
        timer.order.set(self.added.get());
        timer.queue.set(Some(NonNull::from(self)));
        let root = match self.root.get() {
            // SAFETY: *Pinned*: both are roots of heaps of linked nodes.
            Some(root) => unsafe { meld(root, node) },
            None => node,
        };
        self.root.set(Some(root));
    }

    /// Removes a timer that is linked here.
    ///
    /// # Safety
    /// The node is linked in this queue.
    unsafe fn remove(&self, node: NonNull<TimerNode>) {
        // SAFETY: *Pinned*: the node is linked, and so are its neighbours.
        unsafe {
            let timer = node.as_ref();
            let orphans = pair_up(timer.child.take());
            match timer.prev.take() {
                None => self.root.set(orphans),
                Some(prev) => {
                    let next = timer.next.take();
                    if prev.as_ref().child.get() == Some(node) {
                        prev.as_ref().child.set(next);
                    } else {
                        prev.as_ref().next.set(next);
                    }
                    if let Some(next) = next {
                        next.as_ref().prev.set(Some(prev));
                    }
                    if let (Some(root), Some(orphans)) = (self.root.get(), orphans) {
                        self.root.set(Some(meld(root, orphans)));
                    }
                }
            }
            timer.queue.set(None);
        }
    }

    /// Takes the earliest timer out if its time has come, and gives its waker.
    pub(crate) fn pop_expired(&self, now: Instant) -> Option<Option<Waker>> {
        let root = self.root.get()?;
        // SAFETY: *Pinned*: the root is linked.
        unsafe {
            if root.as_ref().deadline.get() > now {
                return None;
            }
            self.remove(root);
            Some(root.as_ref().waker.take())
        }
    }

    /// Unlinks a timer, whichever, and gives its waker: for a domain that ends. `None` when there is none left.
    pub(crate) fn clear(&self) -> Option<Option<Waker>> {
        self.pop_expired(Instant::MAX)
    }
}

/// Makes the later of two heaps a child of the earlier.
///
/// # Safety
/// Both are roots, distinct, of linked nodes.
unsafe fn meld(a: NonNull<TimerNode>, b: NonNull<TimerNode>) -> NonNull<TimerNode> {
    // SAFETY: *Pinned*, promised by the caller.
    unsafe {
        let (first, later) = if b.as_ref().before(a.as_ref()) { (b, a) } else { (a, b) };
        let child = first.as_ref().child.replace(Some(later));
        later.as_ref().next.set(child);
        later.as_ref().prev.set(Some(first));
        if let Some(child) = child {
            child.as_ref().prev.set(Some(later));
        }
        first
    }
}

/// Melds siblings into one heap: two by two from left to right, then all from right to left. Not recursive: a heap may be deep.
///
/// # Safety
/// `first` is a first child, whose parent is going; all are linked nodes.
unsafe fn pair_up(first: Option<NonNull<TimerNode>>) -> Option<NonNull<TimerNode>> {
    // SAFETY: *Pinned*, promised by the caller.
    unsafe {
        let detach = |node: NonNull<TimerNode>| {
            node.as_ref().prev.set(None);
            node.as_ref().next.take()
        };
        let mut rest = first;
        // The pairs, chained by `next`, last pair first.
        let mut pairs: Option<NonNull<TimerNode>> = None;
        while let Some(a) = rest {
            rest = detach(a);
            let pair = match rest {
                Some(b) => {
                    rest = detach(b);
                    meld(a, b)
                }
                None => a,
            };
            pair.as_ref().next.set(pairs);
            pairs = Some(pair);
        }
        let mut heap = pairs?;
        let mut rest = heap.as_ref().next.take();
        while let Some(pair) = rest {
            rest = pair.as_ref().next.take();
            heap = meld(heap, pair);
        }
        Some(heap)
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::boxed::Box;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use super::*;
    use crate::random::Random;

    /// Random insertions, removals and expiries against a sorted set.
    #[test]
    fn agrees_with_a_sorted_set() {
        for seed in 0..50 {
            let random = Random::new(seed, 0);
            let queue = TimerQueue::new();
            let mut nodes: Vec<Box<TimerNode>> = (0..200).map(|_| Box::new(TimerNode::new(Instant::from_nanos(0)))).collect();
            let mut expected = BTreeSet::new();
            let mut order = 0u64;
            for _ in 0..3000 {
                let index = random.below(nodes.len());
                let node = NonNull::from(&mut *nodes[index]);
                match random.below(3) {
                    0 if !nodes[index].is_linked() => {
                        let deadline = random.below(100) as u64;
                        nodes[index].set_deadline(Instant::from_nanos(deadline));
                        order += 1;
                        expected.insert((deadline, order, index));
                        // SAFETY: *Pinned*: boxed, and all unlinked below before the boxes go.
                        unsafe { queue.insert(node) };
                    }
                    1 if nodes[index].is_linked() => {
                        expected.retain(|&(_, _, i)| i != index);
                        nodes[index].unlink();
                    }
                    2 => {
                        let now = random.below(60) as u64;
                        while queue.pop_expired(Instant::from_nanos(now)).is_some() {
                            let Some(first) = expected.pop_first() else { panic!("fired more than was set") };
                            assert!(first.0 <= now);
                            assert!(!nodes[first.2].is_linked(), "fired another than the earliest");
                        }
                    }
                    _ => {}
                }
                assert_eq!(queue.earliest().map(|i| i.as_nanos()), expected.first().map(|e| e.0));
                assert_eq!(queue.is_empty(), expected.is_empty());
            }
            while queue.clear().is_some() {}
            assert!(nodes.iter().all(|node| !node.is_linked()));
        }
    }
}
