//! Buffers that the kernel takes from a ring as it receives, and gets back when they have been sent.

use std::alloc::{Layout, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering::Release};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// The ring's number.
pub(crate) const GROUP: u16 = 0;
/// How many there are: a power of two. One is in use from the receive until it has been sent.
const COUNT: u16 = 2048;
const PAGE: usize = 4096;

/// All of them, for as long as the program runs.
pub(crate) struct Buffers {
    ring: NonNull<BufRingEntry>,
    bytes: NonNull<u8>,
    size: usize,
    /// The next free place in the ring; the kernel learns of it by [`Self::publish`].
    tail: u16,
}

impl Buffers {
    pub(crate) fn new(uring: &IoUring, size: usize) -> io::Result<Self> {
        let ring = allocate(usize::from(COUNT) * size_of::<BufRingEntry>()).cast();
        let bytes = allocate(usize::from(COUNT) * size);
        // SAFETY: "for ever". The memory is never freed, and has room for `COUNT` entries.
        unsafe { uring.submitter().register_buf_ring_with_flags(ring.as_ptr() as u64, COUNT, GROUP, 0)? };
        let mut buffers = Self { ring, bytes, size, tail: 0 };
        for buffer in 0..COUNT {
            buffers.give_back(buffer);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// Where a byte of a buffer is.
    pub(crate) fn pointer(&self, buffer: u16, from: u32) -> *const u8 {
        debug_assert!(buffer < COUNT && (from as usize) < self.size);
        // SAFETY: `buffer` is one that the kernel took, and so below `COUNT`; `from` is within what it received into it.
        unsafe { self.bytes.as_ptr().add(usize::from(buffer) * self.size + from as usize) }
    }

    /// Puts a buffer back into the ring, where the kernel does not see it yet.
    pub(crate) fn give_back(&mut self, buffer: u16) {
        let address = self.pointer(buffer, 0) as u64;
        // SAFETY: "the tail is ours". The place is inside the ring, and the kernel reads none at or after the tail it knows.
        let entry = unsafe { &mut *self.ring.as_ptr().add(usize::from(self.tail % COUNT)) };
        entry.set_addr(address);
        entry.set_len(self.size as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Tells the kernel of all that were put back.
    pub(crate) fn publish(&self) {
        // SAFETY: the ring has a first entry; its tail lies where no entry's fields do, and is an aligned `u16` that only we write.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.ring.as_ptr()).cast_mut()) };
        // What was written into the entries comes before it.
        tail.store(self.tail, Release);
    }
}

/// Zeroed memory, aligned to a page and in use from the start, so that it does not grow with the connections.
fn allocate(size: usize) -> NonNull<u8> {
    let layout = Layout::from_size_align(size, PAGE).unwrap_or_else(|_| panic!("{size} bytes are too many"));
    // SAFETY: the size is not zero; what comes back has that many bytes.
    unsafe {
        let memory = std::alloc::alloc(layout);
        let memory = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
        memory.write_bytes(0, size);
        memory
    }
}
