//! The timers of one domain: nodes that live in the futures that wait, in the order of their deadlines to the nanosecond. Timers with one
//! deadline fire in the order in which they were added.
//!
//! While there are few, all are in one heap. Where they become many, only those that come soon are, and the others wait in the slots of a wheel,
//! in no order, until their time is near: adding and removing is O(1) there, whatever else waits. None of it needs memory beside the
//! queue's own. Timers that are further off than the wheel reaches, more than an hour, are in another heap.
//!
//! Invariant *Reached*: `near` has the timers whose grain is not after `reached`, the wheel those after it that have a [`Place`] relative to it,
//! `far` all others. So each in `near` comes before each in the wheel, and those before each in `far`; and a timer's deadline says where it is.
//!
//! Invariant *Pinned*: a node that is linked stays where it is until it is unlinked, and so does its queue; its future unlinks it when it
//! is dropped, and the domain unlinks all before it goes. A node stays on its domain's thread.

#![allow(unsafe_code)] // Follows raw links between nodes pinned in futures.

mod heap;
mod wheel;

use core::cell::Cell;
use core::marker::PhantomPinned;
use core::ptr::NonNull;
use core::task::Waker;

use self::heap::Heap;
use self::wheel::{LEVELS, Place, Wheel, detach};
use crate::time::Instant;

/// So many timers are best kept in one heap.
pub(crate) const FEW: usize = 32;

/// So many of a slot are best put into the heap.
const FEW_OF_A_SLOT: usize = 4;

/// A grain is 2¹² nanoseconds.
const GRAIN: u32 = 12;

/// No grain comes after it: all timers are near.
const ALL: u64 = u64::MAX;

pub(crate) struct TimerNode {
    deadline: Cell<Instant>,
    order: Cell<u64>,
    /// The queue it is linked in. Asked of the node and not of the thread, which may run several domains in turn.
    queue: Cell<Option<NonNull<TimerQueue>>>,
    child: Cell<Option<NonNull<TimerNode>>>,
    next: Cell<Option<NonNull<TimerNode>>>,
    prev: Cell<Option<NonNull<TimerNode>>>,
    waker: Cell<Option<Waker>>,
    /// Its time has come.
    fired: Cell<bool>,
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
            fired: Cell::new(false),
            _pinned: PhantomPinned,
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline.get()
    }

    /// Sets another deadline, of a timer that has not fired. The node is not linked.
    pub(crate) fn set_deadline(&self, deadline: Instant) {
        debug_assert!(!self.is_linked());
        self.deadline.set(deadline);
        self.fired.set(false);
    }

    /// Whether its time has come, as its queue or its future found.
    pub(crate) fn has_fired(&self) -> bool {
        self.fired.get()
    }

    /// Its time has come. The node is not linked.
    pub(crate) fn fire(&self) {
        debug_assert!(!self.is_linked());
        self.fired.set(true);
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

    fn grain(&self) -> u64 {
        self.deadline.get().as_nanos() >> GRAIN
    }

    fn before(&self, other: &TimerNode) -> bool {
        (self.deadline.get(), self.order.get()) < (other.deadline.get(), other.order.get())
    }
}

pub(crate) struct TimerQueue {
    /// So many are kept in one heap.
    few: usize,
    len: Cell<usize>,
    added: Cell<u64>,
    /// See *Reached*.
    reached: Cell<u64>,
    near: Heap,
    wheel: Wheel,
    far: Heap,
}

impl TimerQueue {
    pub(crate) const fn new(few: usize) -> Self {
        TimerQueue {
            few,
            len: Cell::new(0),
            added: Cell::new(0),
            reached: Cell::new(ALL),
            near: Heap::new(),
            wheel: Wheel::new(),
            far: Heap::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    /// When to look again: at the earliest deadline, or before it, where that is further off than a slot that is quickly sorted out. After a few
    /// looks it is the deadline.
    #[inline]
    pub(crate) fn earliest(&self) -> Option<Instant> {
        if self.is_empty() { None } else { self.earliest_of_some() }
    }

    #[inline(never)]
    fn earliest_of_some(&self) -> Option<Instant> {
        loop {
            if let Some(root) = self.near.root() {
                // SAFETY: *Pinned*: the root is linked.
                return Some(unsafe { root.as_ref() }.deadline());
            }
            if LEVELS == 0 {
                return None;
            }
            let Some((place, first)) = self.wheel.front() else {
                // SAFETY: *Pinned*: the root is linked.
                return self.far.root().map(|root| unsafe { root.as_ref() }.deadline());
            };
            // SAFETY: *Pinned*: it is the first of the slot.
            if let Some(earliest) = unsafe { earliest_of_few(first) } {
                return Some(earliest);
            }
            if !place.is_short() {
                // Who went on so far ahead of the time would have all that is added until then in the heap.
                return Some(Instant::from_nanos(place.first(self.reached.get()) << GRAIN));
            }
            self.enter(place);
        }
    }

    /// Adds a timer, at this time.
    ///
    /// # Safety
    /// The node is not linked, and is pinned until it is unlinked (*Pinned*); so is this queue.
    pub(crate) unsafe fn insert(&self, node: NonNull<TimerNode>, now: Instant) {
        // SAFETY: *Pinned*, promised by the caller.
        let timer = unsafe { node.as_ref() };
        debug_assert!(!timer.is_linked());
        self.added.set(self.added.get() + 1);
        timer.order.set(self.added.get());
        timer.queue.set(Some(NonNull::from(self)));
        let len = self.len.get();
        self.len.set(len + 1);
        if LEVELS > 0 && len >= self.few && self.reached.get() == ALL {
            self.spread(now);
        }
        // SAFETY: it was not linked, as the caller promises.
        unsafe { self.place(node) };
    }

    /// There are many: what is not near at this time goes into the wheel. Again only after all were gone.
    #[cold]
    fn spread(&self, now: Instant) {
        self.reached.set(now.as_nanos() >> GRAIN);
        // SAFETY: they are in this heap, and then in none.
        self.near.take_apart(|node| unsafe { self.place(node) });
    }

    /// # Safety
    /// The node is in neither heap and in no slot; *Pinned*.
    #[inline]
    unsafe fn place(&self, node: NonNull<TimerNode>) {
        // SAFETY: *Pinned*, and promised by the caller. *Reached*.
        unsafe {
            let (grain, reached) = (node.as_ref().grain(), self.reached.get());
            if LEVELS == 0 || grain <= reached {
                self.near.insert(node);
            } else if let Some(place) = Place::of(grain, reached) {
                self.wheel.insert(place, node);
            } else {
                self.far.insert(node);
            }
        }
    }

    /// Removes a timer that is linked here.
    ///
    /// # Safety
    /// The node is linked in this queue.
    unsafe fn remove(&self, node: NonNull<TimerNode>) {
        // SAFETY: promised by the caller. *Reached* says where it is.
        unsafe {
            let (grain, reached) = (node.as_ref().grain(), self.reached.get());
            if LEVELS == 0 || grain <= reached {
                self.near.remove(node);
            } else if let Some(place) = Place::of(grain, reached) {
                self.wheel.remove(place, node);
            } else {
                self.far.remove(node);
            }
            self.removed(node.as_ref());
        }
    }

    #[inline]
    fn removed(&self, timer: &TimerNode) {
        timer.queue.set(None);
        self.len.set(self.len.get() - 1);
        if self.is_empty() {
            self.reached.set(ALL);
        }
    }

    /// Takes the earliest timer out if its time has come, and gives its waker. It has fired then. For `Instant::MAX` it never has.
    #[inline]
    pub(crate) fn pop_expired(&self, now: Instant) -> Option<Option<Waker>> {
        self.pop(now.min(Instant::from_nanos(u64::MAX - 1)), |timer| {
            timer.fire();
            timer.waker.take()
        })
    }

    /// Takes the earliest timer out if its time has come.
    #[inline]
    fn pop<R>(&self, now: Instant, f: impl FnOnce(&TimerNode) -> R) -> Option<R> {
        loop {
            if let Some(root) = self.near.root() {
                // SAFETY: *Pinned*: the root is linked.
                let timer = unsafe { root.as_ref() };
                if timer.deadline() > now {
                    return None;
                }
                // SAFETY: it is in this heap.
                unsafe { self.near.remove(root) };
                self.removed(timer);
                return Some(f(timer));
            }
            if LEVELS == 0 || !self.go_on(now) {
                return None;
            }
        }
    }

    /// None is near: goes on to those that are, or may be, due by now. Whether there are any.
    #[inline(never)]
    fn go_on(&self, now: Instant) -> bool {
        if let Some((place, _)) = self.wheel.front() {
            let due = place.first(self.reached.get()) <= now.as_nanos() >> GRAIN;
            if due {
                self.enter(place);
            }
            return due;
        }
        // SAFETY: *Pinned*: the root is linked.
        let first = self.far.root().map(|root| Place::turn(unsafe { root.as_ref() }.grain()));
        let due = first.filter(|&first| first <= now.as_nanos() >> GRAIN);
        if let Some(first) = due {
            self.enter_far(first);
        }
        due.is_some()
    }

    /// Goes on to the earliest slot of the wheel: to its end where it is short and has few, so that all of them are near.
    fn enter(&self, place: Place) {
        let reached = self.reached.get();
        let mut next = self.wheel.take(place);
        // SAFETY: *Pinned*: it is the first of what was the slot's list.
        let few = place.is_short() && next.is_none_or(|first| unsafe { earliest_of_few(first) }.is_some());
        self.reached.set(if few { place.last(reached) } else { place.first(reached) });
        while let Some(node) = next {
            // SAFETY: taken out, and unlinked from the others before it is put elsewhere.
            unsafe {
                next = detach(node);
                self.place(node);
            }
        }
    }

    /// Goes on to a turn of the wheel that it did not reach, when nothing is before it. Those that are further off still go back.
    #[cold]
    fn enter_far(&self, first: u64) {
        self.reached.set(first);
        // SAFETY: they are in this heap, and then in none.
        self.far.take_apart(|node| unsafe { self.place(node) });
    }

    /// Unlinks a timer, whichever, and gives its waker: for a domain that ends. It has not fired. `None` when there is none left.
    pub(crate) fn clear(&self) -> Option<Option<Waker>> {
        self.pop(Instant::MAX, |timer| timer.waker.take())
    }
}

/// The earliest deadline of a slot that has few.
///
/// # Safety
/// `first` is the first of its list (*Pinned*).
unsafe fn earliest_of_few(first: NonNull<TimerNode>) -> Option<Instant> {
    let mut earliest = Instant::MAX;
    let mut next = Some(first);
    for _ in 0..FEW_OF_A_SLOT {
        let Some(node) = next else { break };
        // SAFETY: *Pinned*: those in the list are linked.
        let timer = unsafe { node.as_ref() };
        earliest = earliest.min(timer.deadline());
        next = timer.next.get();
    }
    next.is_none().then_some(earliest)
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::boxed::Box;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use super::*;
    use crate::random::Random;

    /// Random insertions, removals and expiries against a sorted set: of deadlines near each other and far apart, in one heap and in the wheel.
    #[test]
    fn agrees_with_a_sorted_set() {
        for seed in 0..60 {
            let random = Random::new(seed, 0);
            let queue = TimerQueue::new([0, 5, usize::MAX][seed as usize % 3]);
            let mut nodes: Vec<Box<TimerNode>> = (0..200).map(|_| Box::new(TimerNode::new(Instant::from_nanos(0)))).collect();
            let mut expected = BTreeSet::new();
            let mut order = 0u64;
            let scale = [0, 8, 14, 24, 40, 52][seed as usize / 3 % 6];
            let time = |below| (random.below(below) as u64) << random.below(scale + 1);
            for _ in 0..3000 {
                let index = random.below(nodes.len());
                let node = NonNull::from(&mut *nodes[index]);
                match random.below(4) {
                    0 | 1 if !nodes[index].is_linked() => {
                        let deadline = time(100);
                        nodes[index].set_deadline(Instant::from_nanos(deadline));
                        order += 1;
                        expected.insert((deadline, order, index));
                        // SAFETY: *Pinned*: boxed, and all unlinked below before the boxes go.
                        unsafe { queue.insert(node, Instant::from_nanos(time(60))) };
                    }
                    2 if nodes[index].is_linked() => {
                        expected.retain(|&(_, _, i)| i != index);
                        nodes[index].unlink();
                    }
                    3 => {
                        let now = time(60);
                        while queue.pop_expired(Instant::from_nanos(now)).is_some() {
                            let Some(first) = expected.pop_first() else { panic!("fired more than was set") };
                            assert!(first.0 <= now);
                            assert!(!nodes[first.2].is_linked(), "fired another than the earliest");
                        }
                        assert!(expected.first().is_none_or(|first| first.0 > now), "fired less than was due");
                    }
                    _ => {}
                }
                if random.below(2) == 0 {
                    let first = expected.first().map(|first| Instant::from_nanos(first.0));
                    let mut look = queue.earliest();
                    // Before it, it is asked again, and not often.
                    for _ in 0..LEVELS {
                        assert!(look.is_some() == first.is_some() && look <= first, "{look:?}, and the first is due at {first:?}");
                        if look < first {
                            assert!(look.is_some_and(|now| queue.pop_expired(now).is_none()));
                            look = queue.earliest();
                        }
                    }
                    assert_eq!(look, first);
                }
                assert_eq!(queue.is_empty(), expected.is_empty());
            }
            while queue.clear().is_some() {
                let first = expected.pop_first().map(|first| first.2);
                assert!(first.is_some_and(|first| !nodes[first].is_linked()), "cleared another than the earliest");
            }
            assert!(nodes.iter().all(|node| !node.is_linked()));
        }
    }
}
