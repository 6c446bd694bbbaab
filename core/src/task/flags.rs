//! What is known of a task in bits, one word of them for each domain that writes them.

use core::cell::Cell;

/// A few bits of one domain's.
#[derive(Debug)]
pub(crate) struct Flags(pub(super) Cell<u8>);

impl Flags {
    pub(crate) const fn new(bits: u8) -> Self {
        Flags(Cell::new(bits))
    }

    pub(crate) fn has(&self, bits: u8) -> bool {
        self.0.get() & bits != 0
    }

    pub(crate) fn set(&self, bits: u8) {
        self.0.set(self.0.get() | bits);
    }

    pub(crate) fn clear(&self, bits: u8) {
        self.0.set(self.0.get() & !bits);
    }
}

/// Bits of `home_flags`.
pub(crate) mod home {
    /// The task is in the run queue.
    pub(crate) const RUNNABLE: u8 = 1;
    /// The future is gone or going: it is never polled again, and its children are cancelled.
    pub(crate) const CLOSED: u8 = 2;
    /// The task has ended.
    pub(crate) const ENDED: u8 = 4;
    /// It ended while its node was in this domain's inbox, or about to be: the domain keeps it until it takes the node.
    pub(crate) const LIMBO: u8 = 8;
    /// It broke a rule: it ends abnormally, whatever it returns.
    pub(crate) const VIOLATED: u8 = 16;
    /// It was made on another domain, where its parent is.
    pub(crate) const SENT: u8 = 32;
    /// Its end was sent to its parent's domain. (After its end.)
    pub(crate) const HANDED_OVER: u8 = 64;
    /// Its home has a hold to spare, for the next waker: the first one's, or that of one that has gone. (Until its end. There is no other bit.)
    pub(crate) const SPARE: u8 = HANDED_OVER;
    /// One of its belongings is what is kept of a child that was forgotten.
    #[cfg(feature = "alloc")]
    pub(crate) const FORGOT: u8 = 128;
}

/// Bits of `parent_flags`.
pub(crate) mod parent {
    /// The end has reached the parent.
    pub(crate) const DELIVERED: u8 = 1;
    /// The parent cancelled it; the result is dropped.
    pub(crate) const CANCELLED: u8 = 2;
    /// The promise was dropped; the result is dropped.
    pub(crate) const FORGOTTEN: u8 = 4;
    /// It is no longer in the parent's list: awaited, or cancelled or forgotten and ended.
    pub(crate) const UNLINKED: u8 = 8;
    /// A promise holds it. (In an `Orphans`, nobody does.)
    pub(crate) const HELD: u8 = 16;
    /// It was taken out of an `Orphans`, and is in its group's list of those.
    #[cfg(feature = "alloc")]
    pub(crate) const TAKEN: u8 = 32;
    /// Its promise has given the result.
    pub(crate) const AWAITED: u8 = 64;
    /// And the result was a value.
    pub(crate) const RESOLVED: u8 = 128;
}
