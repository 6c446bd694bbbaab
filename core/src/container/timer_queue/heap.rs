//! A pairing heap of timers: the earliest deadline is at the root; of those with one deadline, the one that was added first.
//!
//! A pairing heap (Fredman, Sedgewick, Sleator, Tarjan, "The pairing heap", Algorithmica 1986) needs no memory of its own: three
//! links a node. Adding is O(1), removing any node O(log n) amortised.
//!
//! Links: `child` leads to the first child, `next` to the next sibling, `prev` to the previous sibling or, for a first child, to
//! the parent. The root has neither `prev` nor `next`.

#![allow(unsafe_code)] // Follows raw links between nodes pinned in futures, under *Pinned* (see `timer_queue`).

use core::cell::Cell;
use core::ptr::NonNull;

use super::TimerNode;

pub(super) struct Heap {
    root: Cell<Option<NonNull<TimerNode>>>,
}

impl Heap {
    pub(super) const fn new() -> Self {
        Heap { root: Cell::new(None) }
    }

    pub(super) fn root(&self) -> Option<NonNull<TimerNode>> {
        self.root.get()
    }

    /// All that is in it.
    pub(super) fn take(&self) -> Heap {
        Heap { root: Cell::new(self.root.take()) }
    }

    /// # Safety
    /// The node is in no heap and in no wheel, and pinned until it is removed (*Pinned*).
    pub(super) unsafe fn insert(&self, node: NonNull<TimerNode>) {
        self.root.set(Some(match self.root.get() {
            // SAFETY: *Pinned*: both are roots of heaps of linked nodes.
            Some(root) => unsafe { meld(root, node) },
            None => node,
        }));
    }

    /// # Safety
    /// The node is in this heap.
    pub(super) unsafe fn remove(&self, node: NonNull<TimerNode>) {
        // SAFETY: *Pinned*: the node is linked, and so are its neighbours.
        unsafe {
            let timer = node.as_ref();
            let orphans = pair_up(timer.child.take());
            let Some(prev) = timer.prev.take() else { return self.root.set(orphans) };
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
