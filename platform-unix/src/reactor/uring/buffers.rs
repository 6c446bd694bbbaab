//! The buffers that the kernel receives into: a ring of them, lent to it ahead of what comes.
//!
//! A receive takes one only when it has something to put there, so connections that wait hold none. What was received is copied out, and
//! the buffer goes back.
//!
//! # Invariants
//!
//! - *Here or there*: a buffer is with the kernel, which may write to it in every `enter`, or held here, where it may be read. `held` says
//!   which: it is held from the completion that names it, until it is given back.
//! - *Outlives*: the memory goes only when no operation is under way that could take a buffer ([`Buffers::let_go`]); else it is leaked.
//! - *In its ring*: `slots` has `COUNT` places, a power of two, and lies at the beginning of a page. The kernel reads the tail with
//!   acquire, and only what is before it; this domain alone writes.

#![allow(unsafe_code)] // The kernel writes to this memory, at times that the compiler does not know of.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::ring::Ring;

/// How many there are.
const COUNT: u16 = 128;
/// Of each one, in bytes.
pub(super) const SIZE: usize = 4 << 10; // A length fits into 16 bits.
/// With fewer than this left to the kernel, what came is not kept in its buffer.
const RESERVE: u16 = COUNT / 4;
/// The number by which operations name the ring.
pub(super) const GROUP: u16 = 0;

const PAGE: usize = 4 << 10;

/// A buffer that is held, and how many bytes came in it.
#[derive(Debug)]
pub(super) struct Filled {
    id: u16,
    length: u16,
}

pub(super) struct Buffers {
    slots: NonNull<BufRingEntry>,
    bytes: NonNull<u8>,
    tail: u16,
    held: [bool; COUNT as usize],
    /// How many are with the kernel.
    there: u16,
    unused: bool,
}

impl Buffers {
    const SLOTS: Layout = layout(size_of::<BufRingEntry>() * COUNT as usize, PAGE);
    /// With an alignment that any allocation has: for a greater one all of it would be zeroed by hand, and be there from the beginning.
    const BYTES: Layout = layout(SIZE * COUNT as usize, align_of::<u128>());

    /// Makes them, and lends them all to the kernel.
    pub(super) fn new(ring: &Ring) -> io::Result<Buffers> {
        let (slots, bytes) = (allocate(Buffers::SLOTS).cast(), allocate(Buffers::BYTES));
        let mut buffers = Buffers { slots, bytes, tail: 0, held: [true; COUNT as usize], there: 0, unused: true };
        // SAFETY: *In its ring*, and *Outlives*: they are let go only with the ring, when nothing is under way.
        unsafe { ring.register_buffers(slots.as_ptr() as u64, COUNT, GROUP)? };
        buffers.unused = false;
        for id in 0..COUNT {
            buffers.give_back(Filled { id, length: 0 });
        }
        Ok(buffers)
    }

    /// A completion named this buffer. None for one that the kernel did not have: then it is not touched.
    pub(super) fn take(&mut self, id: u16, length: usize) -> Option<Filled> {
        let held = self.held.get_mut(usize::from(id)).filter(|held| !**held)?;
        *held = true;
        self.there -= 1;
        Some(Filled { id, length: length.min(SIZE) as u16 })
    }

    /// What came in it.
    pub(super) fn bytes(&self, filled: &Filled) -> &[u8] {
        // SAFETY: *Here or there*: there is a `Filled` only of a buffer that is held, which the kernel does not write to. All of it was zero
        // at first, and it is borrowed as long as `self` is, so that it is not given back meanwhile.
        unsafe { std::slice::from_raw_parts(self.place(filled.id).as_ptr(), usize::from(filled.length)) }
    }

    /// Lends it to the kernel again.
    pub(super) fn give_back(&mut self, filled: Filled) {
        let slot = usize::from(self.tail & (COUNT - 1));
        let address = self.place(filled.id).as_ptr() as u64;
        // SAFETY: *In its ring*: the slot is behind the tail, so the kernel does not read it. Its last two bytes are left as they are:
        // in the first slot they are the tail.
        let entry = unsafe { &mut *self.slots.as_ptr().add(slot) };
        entry.set_addr(address);
        entry.set_len(SIZE as u32);
        entry.set_bid(filled.id);
        self.held[usize::from(filled.id)] = false;
        self.there += 1;
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail is in the first slot, aligned, and written by nobody else.
        let tail = unsafe { &*BufRingEntry::tail(self.slots.as_ptr()).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }

    /// Whether so few are left that what came had better be copied at once.
    pub(super) fn are_scarce(&self) -> bool {
        self.there < RESERVE
    }

    /// Whether nothing is held.
    pub(super) fn are_all_there(&self) -> bool {
        self.there == COUNT
    }

    /// Nothing is under way any more, and nothing will be.
    pub(super) fn let_go(&mut self) {
        self.unused = true;
    }

    fn place(&self, id: u16) -> NonNull<u8> {
        assert!(id < COUNT);
        // SAFETY: it is within the allocation.
        unsafe { self.bytes.add(usize::from(id) * SIZE) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.unused {
            // SAFETY: both were allocated with these layouts, and by *Outlives* nobody knows of them any more: the kernel looks at
            // `slots` only for an operation.
            unsafe {
                dealloc(self.slots.as_ptr().cast(), Buffers::SLOTS);
                dealloc(self.bytes.as_ptr(), Buffers::BYTES);
            }
        }
    }
}

const fn layout(size: usize, align: usize) -> Layout {
    match Layout::from_size_align(size, align) {
        Ok(layout) => layout,
        Err(_) => panic!("a power of two, and far below the limit"),
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: its size is not zero.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers() -> Option<(Ring, Buffers)> {
        let ring = Ring::new().inspect_err(|error| eprintln!("left out: {error}")).ok()?;
        let mut buffers = Buffers::new(&ring).unwrap();
        buffers.let_go(); // No operation is begun here.
        Some((ring, buffers))
    }

    #[test]
    fn a_buffer_is_taken_once_and_goes_back_to_the_end_of_the_ring() {
        let Some((_ring, mut buffers)) = buffers() else { return };
        assert_eq!((buffers.there, buffers.tail), (COUNT, COUNT));
        let filled = buffers.take(3, 5).unwrap();
        assert_eq!((buffers.bytes(&filled), buffers.there), (&[0; 5][..], COUNT - 1));
        assert!(buffers.take(3, 5).is_none(), "it is held");
        assert!(buffers.take(COUNT, 5).is_none(), "there is no such");
        buffers.give_back(filled);
        assert_eq!((buffers.there, buffers.tail), (COUNT, COUNT + 1));
        // SAFETY: the first slot, which is nobody's to write but ours.
        let slot = unsafe { &*buffers.slots.as_ptr() };
        assert_eq!((slot.bid(), slot.len(), slot.addr()), (3, SIZE as u32, buffers.place(3).as_ptr() as u64));
        assert_eq!(usize::from(buffers.take(3, 2 * SIZE).unwrap().length), SIZE, "never more than there is");
    }

    #[test]
    fn the_tail_goes_round() {
        let Some((_ring, mut buffers)) = buffers() else { return };
        for round in 0..70_000_u32 {
            let filled = buffers.take((round % u32::from(COUNT)) as u16, 1).unwrap();
            buffers.give_back(filled);
        }
        assert_eq!((buffers.there, buffers.tail), (COUNT, (70_000 + u32::from(COUNT)) as u16));
        // SAFETY: as above.
        assert_eq!(unsafe { *BufRingEntry::tail(buffers.slots.as_ptr()) }, buffers.tail);
    }

    #[test]
    fn they_are_scarce_before_there_are_none() {
        let Some((_ring, mut buffers)) = buffers() else { return };
        let mut taken: Vec<_> = (0..COUNT - RESERVE).map(|id| buffers.take(id, 1).unwrap()).collect();
        assert!(!buffers.are_scarce());
        taken.push(buffers.take(COUNT - 1, 1).unwrap());
        assert!(buffers.are_scarce());
        taken.into_iter().for_each(|filled| buffers.give_back(filled));
        assert!(!buffers.are_scarce());
    }
}
