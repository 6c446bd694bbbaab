//! The bell: what ends a domain's sleep from another thread or from a signal handler.
//!
//! It is a file descriptor that becomes readable, and a flag that says it has been rung. Linux has `eventfd`; elsewhere, and where
//! `eventfd` is refused, it is a pipe.
//!
//! # Invariants
//!
//! - *One ring*: between two [`answer`](Bell::answer)s only the ringer that turns `rung` from `false` to `true` writes to the
//!   descriptor. A hundred interrupts of a sleeper are one system call and one wake-up, and the pipe never fills.
//! - *None lost*: `rung` is cleared only by the domain, only after it saw the descriptor ready, and the domain then returns from
//!   `select`. A ringer that finds the flag set and leaves without writing is therefore either before that return, and what it
//!   sent is found after it, or its write is still to be seen by the next `select`.
//!
//! [`Bell::ring`] may be called from any thread and from a signal handler: a swap and a `write` that cannot block. Everything else
//! belongs to the domain the bell was made for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use crate::reactor::Shared;

/// What a bell is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Material {
    /// `eventfd` where there is one, else a pipe.
    Best,
    /// A pipe. Tests force it, since no Linux machine would fall back to it.
    Pipe,
}

impl Material {
    /// What a run takes when nothing else was said.
    pub(crate) const DEFAULT: Material = if cfg!(matou_test_pipe) { Material::Pipe } else { Material::Best };
}

/// A domain's bell.
#[derive(Debug)]
pub(crate) struct Bell {
    rung: AtomicBool,
    rope: Rope,
}

#[derive(Debug)]
enum Rope {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    EventFd(OwnedFd),
    Pipe {
        reader: OwnedFd,
        writer: OwnedFd,
    },
}

impl Bell {
    pub(crate) fn new(material: Material) -> io::Result<Bell> {
        let rope = match material {
            Material::Best => Rope::best()?,
            Material::Pipe => Rope::pipe()?,
        };
        Ok(Bell { rung: AtomicBool::new(false), rope })
    }

    /// Ends the sleep under way, else the next one. From anywhere.
    pub(crate) fn ring(&self) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return; // Invariant *One ring*: who turned it writes, or has written.
        }
        // An error other than an interruption means that the descriptor is full, and so readable already.
        while self.rope.pull() == Err(Errno::INTR) {}
    }

    /// Whether it was rung and not heard yet. By its domain.
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed)
    }

    /// Takes note that the bell was heard. By its domain, when its descriptor was reported ready.
    ///
    /// An edge-triggered source reports every pull anew, so an `eventfd` need not be emptied for it.
    pub(crate) fn answer(&self, edge_triggered: bool) {
        self.rope.settle(edge_triggered);
        // After emptying: a ringer that comes in between finds the flag set and leaves, and the domain is about to look around.
        // A swap, not a store, so that what that ringer wrote before it rang is visible from here on.
        self.rung.swap(false, Ordering::AcqRel);
    }

    /// Whether every pull is an edge of its own, even when nobody empties the descriptor.
    pub(crate) fn has_edges(&self) -> bool {
        !matches!(self.rope, Rope::Pipe { .. })
    }
}

impl AsFd for Bell {
    /// What becomes readable when the bell is rung.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.rope {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Rope::EventFd(fd) => fd.as_fd(),
            Rope::Pipe { reader, .. } => reader.as_fd(),
        }
    }
}

impl Rope {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn best() -> io::Result<Rope> {
        use rustix::event::{EventfdFlags, eventfd};
        match eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK) {
            Ok(fd) => Ok(Rope::EventFd(fd)),
            // An old kernel, or a sandbox that does not know the call.
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => Rope::pipe(),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn best() -> io::Result<Rope> {
        Rope::pipe()
    }

    fn pipe() -> io::Result<Rope> {
        // `std` sets CLOEXEC, atomically where the system can.
        let (reader, writer) = io::pipe()?;
        let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
        rustix::io::ioctl_fionbio(&reader, true)?;
        rustix::io::ioctl_fionbio(&writer, true)?;
        Ok(Rope::Pipe { reader, writer })
    }

    fn pull(&self) -> Result<(), Errno> {
        match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Rope::EventFd(fd) => rustix::io::write(fd, &1u64.to_ne_bytes()).map(drop),
            Rope::Pipe { writer, .. } => rustix::io::write(writer, &[1]).map(drop),
        }
    }

    fn settle(&self, edge_triggered: bool) {
        let (fd, until_empty) = match self {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Rope::EventFd(_) if edge_triggered => return,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Rope::EventFd(fd) => (fd, false), // One read takes the whole count.
            Rope::Pipe { reader, .. } => (reader, true),
        };
        let mut bytes = [0; 64];
        loop {
            match rustix::io::read(fd, &mut bytes) {
                Ok(read) if until_empty && read == bytes.len() => {}
                Err(Errno::INTR) => {}
                // Emptied. Any other error leaves the descriptor ready, and the next `select` reports it again.
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// Rings a domain's bell for the core. It outlives the domain's event source, if need be.
#[derive(Clone, Debug)]
pub(crate) struct Interrupter(pub(crate) Arc<Shared>);

impl matou_core::platform::Interrupt for Interrupter {
    fn interrupt(&self) {
        self.0.bell().ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    const BOTH: [Material; 2] = [Material::Best, Material::Pipe];

    fn rings(bell: &Bell) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    fn r38_many_rings_are_one_answer() {
        for material in BOTH {
            let bell = Bell::new(material).unwrap();
            assert!(!rings(&bell));
            for _ in 0..100_000 {
                bell.ring(); // A pipe would be full after 65,536 writes.
            }
            assert!(rings(&bell));
            bell.answer(false);
            assert!(!rings(&bell), "{material:?} was emptied");
        }
    }

    #[test]
    fn r38_a_ring_after_the_answer_is_heard() {
        for material in BOTH {
            let bell = Bell::new(material).unwrap();
            for _ in 0..3 {
                bell.ring();
                assert!(rings(&bell));
                bell.answer(false);
                assert!(!rings(&bell));
            }
        }
    }

    #[test]
    fn r38_none_is_lost_between_threads() {
        for material in BOTH {
            let bell = Bell::new(material).unwrap();
            let sent = std::sync::atomic::AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        for _ in 0..20_000 {
                            sent.fetch_add(1, Ordering::Release);
                            bell.ring();
                        }
                    });
                }
                // Sleeps only on the bell: a lost ring would be a hang.
                while sent.load(Ordering::Acquire) < 40_000 {
                    poll(&mut [PollFd::new(&bell, PollFlags::IN)], None).unwrap();
                    bell.answer(false);
                }
            });
        }
    }
}
