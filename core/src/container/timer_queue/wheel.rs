//! A hierarchical timing wheel (Varghese and Lauck, "Hashed and hierarchical timing wheels", 1987) of timers, whose deadlines count in grains
//! of 2¹² nanoseconds here.
//!
//! It is relative to a grain that was *reached*, before all that are in it. A timer's level is the highest digit, of six bits, in which its
//! grain differs from that one, and its slot is that digit. So all of a lower level come before all of a higher one, and within a level a lower
//! slot before a higher. The grain may go on as far as it enters no slot but one that is taken out: no other timer's place changes then.
//!
//! A slot is a list in no order: `next`, and `prev`, which the first has not.

#![allow(unsafe_code)] // Follows raw links between nodes pinned in futures, under *Pinned* (see `timer_queue`).

use core::cell::Cell;
use core::ptr::NonNull;

use super::TimerNode;

/// A processor with small addresses has little memory, and few timers.
pub(super) const LEVELS: usize = if cfg!(target_pointer_width = "64") { 5 } else { 0 };

/// The bits of a digit.
const DIGIT: u32 = 6;
const SLOTS: usize = 1 << DIGIT;

pub(super) struct Wheel {
    levels: [Level; LEVELS],
}

struct Level {
    /// Which slots have timers.
    occupied: Cell<u64>,
    slots: [Cell<Option<NonNull<TimerNode>>>; SLOTS],
}

/// Where a timer is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    level: usize,
    slot: usize,
}

impl Place {
    /// Of a grain that comes after the one that was reached; none if it is too far.
    pub(super) fn of(grain: u64, reached: u64) -> Option<Place> {
        let level = ((grain ^ reached).ilog2() / DIGIT) as usize;
        (level < LEVELS).then(|| Place { level, slot: (grain >> (level as u32 * DIGIT)) as usize % SLOTS })
    }

    /// Its first grain.
    pub(super) fn first(self, reached: u64) -> u64 {
        let shift = self.level as u32 * DIGIT;
        (reached >> (shift + DIGIT) << DIGIT | self.slot as u64) << shift
    }

    /// Its last grain.
    pub(super) fn last(self, reached: u64) -> u64 {
        self.first(reached) | ((1 << (self.level as u32 * DIGIT)) - 1)
    }
}

impl Wheel {
    pub(super) const fn new() -> Self {
        Wheel { levels: [const { Level { occupied: Cell::new(0), slots: [const { Cell::new(None) }; SLOTS] } }; LEVELS] }
    }

    /// The earliest slot that has timers, and the first of them.
    pub(super) fn front(&self) -> Option<(Place, NonNull<TimerNode>)> {
        self.levels.iter().enumerate().find_map(|(level, slots)| {
            let slot = slots.occupied.get().trailing_zeros() as usize;
            let first = slots.slots.get(slot)?.get()?;
            Some((Place { level, slot }, first))
        })
    }

    /// # Safety
    /// The node is in no heap and in no wheel, and pinned until it is removed (*Pinned*).
    pub(super) unsafe fn insert(&self, place: Place, node: NonNull<TimerNode>) {
        let level = &self.levels[place.level];
        level.occupied.set(level.occupied.get() | 1 << place.slot);
        let next = level.slots[place.slot].replace(Some(node));
        // SAFETY: *Pinned*: what is in a slot is linked.
        unsafe {
            node.as_ref().next.set(next);
            if let Some(next) = next {
                next.as_ref().prev.set(Some(node));
            }
        }
    }

    /// # Safety
    /// The node is in this slot.
    pub(super) unsafe fn remove(&self, place: Place, node: NonNull<TimerNode>) {
        // SAFETY: *Pinned*: the node is linked, and so are its neighbours.
        unsafe {
            let (prev, next) = (node.as_ref().prev.take(), node.as_ref().next.take());
            if let Some(next) = next {
                next.as_ref().prev.set(prev);
            }
            match prev {
                Some(prev) => prev.as_ref().next.set(next),
                None => {
                    let level = &self.levels[place.level];
                    level.slots[place.slot].set(next);
                    if next.is_none() {
                        level.occupied.set(level.occupied.get() & !(1 << place.slot));
                    }
                }
            }
        }
    }

    /// Takes all out of a slot, for the caller to unlink with [`detach`].
    pub(super) fn take(&self, place: Place) -> Option<NonNull<TimerNode>> {
        let level = &self.levels[place.level];
        level.occupied.set(level.occupied.get() & !(1 << place.slot));
        level.slots[place.slot].take()
    }
}

/// Unlinks the first of a list that was taken out. Gives the next.
///
/// # Safety
/// It is the first of such a list.
pub(super) unsafe fn detach(first: NonNull<TimerNode>) -> Option<NonNull<TimerNode>> {
    // SAFETY: *Pinned*: those in the list are linked.
    unsafe {
        let next = first.as_ref().next.take();
        if let Some(next) = next {
            next.as_ref().prev.set(None);
        }
        next
    }
}
