//! The ring itself: two queues that a domain shares with the kernel, and the one call that moves both.
//!
//! It is made for one thread, which alone may touch it (`SINGLE_ISSUER`), and its completions come only while that thread is in
//! [`enter`](Ring::enter) (`DEFER_TASKRUN`): between two calls the kernel does nothing for this ring. That is more than a matter of speed.
//! *Still*: what a domain sees of its operations between two `enter`s is the whole truth.
//!
//! # Invariants
//!
//! - *No pointers*: no operation names memory of a caller's. What is received goes to the [`buffers`](super::buffers) of the domain, which
//!   stay until nothing is under way.
//! - *All at once*: every operation that was [pushed](Ring::push) is handed over by the next `enter`, before anything completes in it.

#![allow(unsafe_code)] // Whoever hands an operation to the kernel answers for the memory that it names.

use std::io;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, squeue};
use rustix::io::Errno;

use crate::time::Duration;

/// How many operations are handed over in one call at most; more take another call.
const SUBMISSIONS: u32 = 256;

/// How many completions there is room for. The kernel keeps what goes beyond, at a price.
const COMPLETIONS: u32 = 4096;

pub(super) struct Ring {
    ring: IoUring,
}

impl Ring {
    pub(super) fn new() -> io::Result<Ring> {
        #[cfg(test)]
        if let Some(errno) = refusal::REFUSED.get() {
            return Err(explain(errno.into()));
        }
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().setup_taskrun_flag();
        builder.setup_cqsize(COMPLETIONS).setup_clamp().dontfork();
        let ring = builder.build(SUBMISSIONS).map_err(explain)?;
        // All of these are older than what the kernel has just agreed to.
        debug_assert!(
            ring.params().is_feature_nodrop() && ring.params().is_feature_ext_arg() && ring.params().is_feature_skip_cqe_on_success()
        );
        let mut ring = Ring { ring };
        // A filter may allow to make a ring, and not to enter it.
        ring.call(0, EnterFlags::GETEVENTS, None).map_err(|errno| explain(errno.into()))?;
        Ok(ring)
    }

    /// Hands an operation over with the next `enter`.
    pub(super) fn push(&mut self, operation: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: *No pointers*.
            if unsafe { self.ring.submission().push(operation) }.is_ok() {
                return Ok(());
            }
            self.hand_over()?;
        }
    }

    /// Makes room for more operations. Nothing completes meanwhile but what can at once.
    fn hand_over(&mut self) -> io::Result<()> {
        match self.call(0, EnterFlags::empty(), None) {
            Err(Errno::INTR | Errno::AGAIN | Errno::BUSY) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Hands over what was pushed, waits for a completion as long as it may, and lets come what has come.
    ///
    /// Without a wait, it costs nothing where there is nothing to be done.
    pub(super) fn enter(&mut self, wait: Sleep) -> io::Result<()> {
        let entered = match wait {
            Sleep::No if self.is_idle() => return Ok(()),
            Sleep::No => self.call(0, EnterFlags::GETEVENTS, None),
            Sleep::For(duration) => self.call(1, EnterFlags::GETEVENTS, Some(duration)),
            Sleep::Forever => self.call(1, EnterFlags::GETEVENTS, None),
        };
        match entered {
            // A signal, or the time is over; or there is no room for completions until those that there are were taken.
            Ok(()) | Err(Errno::INTR | Errno::TIME | Errno::AGAIN | Errno::BUSY) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a call would change nothing: nothing is to be handed over, and the kernel has nothing to be done.
    fn is_idle(&mut self) -> bool {
        let submission = self.ring.submission();
        submission.is_empty() && !submission.taskrun() && !submission.cq_overflow()
    }

    /// Whether more has completed than there was room for: it comes with the next call.
    pub(super) fn has_more(&mut self) -> bool {
        self.ring.submission().cq_overflow()
    }

    /// The next one that has completed.
    pub(super) fn next(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    /// Lets receives take buffers of this ring of buffers.
    ///
    /// # Safety
    ///
    /// `slots` is the beginning of a page, with room for `count` entries, and lives until no operation is under way.
    pub(super) unsafe fn register_buffers(&self, slots: u64, count: u16, group: u16) -> io::Result<()> {
        // SAFETY: the caller's.
        unsafe { self.ring.submitter().register_buf_ring_with_flags(slots, count, group, 0) }.map_err(explain)
    }

    fn call(&mut self, want: u32, flags: EnterFlags, longest: Option<Duration>) -> Result<(), Errno> {
        let pushed = self.ring.submission().len() as u32;
        let submitter = self.ring.submitter();
        let called = match longest {
            Some(longest) => {
                let longest = Timespec::from(longest);
                let arguments = SubmitArgs::new().timespec(&longest);
                // SAFETY: the arguments are of the kind that the flag announces, and live until the call returns.
                unsafe { submitter.enter(pushed, want, (flags | EnterFlags::EXT_ARG).bits(), Some(&arguments)) }
            }
            // SAFETY: there are no arguments.
            None => unsafe { submitter.enter::<()>(pushed, want, flags.bits(), None) },
        };
        match called {
            Ok(_taken) => Ok(()),
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL)),
        }
    }
}

/// How long to wait for a completion.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sleep {
    No,
    For(Duration),
    Forever,
}

/// What stands in the way of a ring, in words.
fn explain(error: io::Error) -> io::Error {
    let reason = match Errno::from_io_error(&error) {
        Some(Errno::NOSYS) => "this kernel has none, or a filter of system calls (seccomp) hides it",
        Some(Errno::PERM | Errno::ACCESS) if is_switched_off() => "it is switched off: `sysctl kernel.io_uring_disabled` is not 0",
        Some(Errno::PERM | Errno::ACCESS) => "a filter of system calls (seccomp) or a security module forbids it",
        Some(Errno::INVAL) => "this kernel is older than 6.1, which brought what is needed (IORING_SETUP_DEFER_TASKRUN)",
        Some(Errno::NOMEM) => "there is no memory for its queues, or the limit of locked memory (`ulimit -l`) is too low",
        _ => return io::Error::new(error.kind(), format!("there is no io_uring to be had: {error}")),
    };
    io::Error::new(error.kind(), format!("there is no io_uring to be had: {reason}"))
}

fn is_switched_off() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").is_ok_and(|value| value.trim() != "0")
}

/// Lets the tests of a thread see a system that refuses.
#[cfg(test)]
pub(super) mod refusal {
    use std::cell::Cell;

    use rustix::io::Errno;

    thread_local! {
        pub(in crate::reactor::uring) static REFUSED: Cell<Option<Errno>> = const { Cell::new(None) };
        /// Whether it repeats no receives.
        pub(in crate::reactor::uring) static REPEATS_NONE: Cell<bool> = const { Cell::new(false) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_words() {
        for (errno, words) in [
            (Errno::NOSYS, "this kernel has none"),
            (Errno::PERM, if is_switched_off() { "io_uring_disabled" } else { "seccomp" }),
            (Errno::INVAL, "older than 6.1"),
            (Errno::NOMEM, "ulimit -l"),
            (Errno::MFILE, "os error 24"),
        ] {
            let error = explain(errno.into());
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.kind(), io::Error::from(errno).kind());
        }
    }
}
