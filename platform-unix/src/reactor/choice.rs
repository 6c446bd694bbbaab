//! Which reactor there is to choose.

use std::fmt;
use std::str::FromStr;

use super::current;

/// Which system call the domains ask for events.
///
/// A run that is not told which takes io_uring where the kernel has all that it needs to be as cheap as epoll (receives that it repeats, up to a
/// limit: Linux 6.18, and not the first of them; it is tried), else [`Epoll`](Reactor::Epoll), and [`Poll`](Reactor::Poll) where there is neither. All of
/// them behave alike. Which one is the fastest depends on the kernel, the machine and the load: where this was measured, io_uring and epoll take the same
/// processor time within some hundredths, and io_uring half the system calls (`bench/README.md`). Measure yours: `MATOU_REACTOR` chooses, and
/// [`Reactor::current`] tells what was chosen. Where a filter of system calls (seccomp) does not refuse io_uring but kills who asks for it, ask for epoll.
///
/// ```
/// use matou_unix::{Builder, Reactor};
///
/// let answer = Builder::new().domains(0).reactor(Reactor::Poll).run(async {
///     assert_eq!(Reactor::current(), Some(Reactor::Poll));
///     42
/// });
/// assert_eq!(answer.unwrap(), 42);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reactor {
    /// `io_uring`: what many tasks ask for is handed over in one call, which is also the one that sleeps. Linux 6.1 and later; a run for
    /// which it was asked fails where there is none, with what stands in the way.
    ///
    /// What comes for a read of a stream that waits is received by the kernel, into a buffer of the domain, which has half a MiB of them. A read that is dropped takes that
    /// back, which costs a call; what came all the same is the stream's next read's, and stands in the way of converting it:
    /// see [`TcpStream::unread`](crate::net::TcpStream::unread). A TCP stream that is read regularly is received from again and again by the
    /// kernel (Linux 6.18), never more than the read that waits has room for. What waits on one domain, or has just been read there, and is dropped on another,
    /// converted or not, is closed when the first looks at its events the next time. Two things are better asked of another reactor: descriptors that come with the bytes of a stream on
    /// which a read waits (`SCM_RIGHTS`) are lost if that read is dropped; and for a socket with something in its error queue (time stamps,
    /// zero-copy sends) the kernel receives on a thread of its own. A thread whose run has ended may find a call interrupted once, as by a signal, when the
    /// kernel clears up after its ring.
    #[doc(alias = "io_uring")]
    Uring,
    /// `epoll`, edge-triggered: an event costs the same with ten sockets and with ten thousand. Linux only.
    #[doc(alias = "epoll_wait")]
    Epoll,
    /// `poll(2)`: on every Unix; each sleep costs time in proportion to the sockets that are waited for.
    Poll,
}

impl Reactor {
    /// What is tried, in this order, where nothing was asked for. All but the last have to be [worth it](super::kernel::Kernel::of_choice). The tests of
    /// this crate can force one.
    pub(super) const CHOICE: &[Reactor] = if cfg!(matou_test_poll) {
        &[Reactor::Poll]
    } else if cfg!(matou_test_epoll) {
        &[Reactor::Epoll]
    } else if cfg!(matou_test_uring) {
        &[Reactor::Uring]
    } else if cfg!(target_os = "linux") {
        &[Reactor::Uring, Reactor::Epoll]
    } else if cfg!(target_os = "android") {
        &[Reactor::Epoll]
    } else {
        &[Reactor::Poll]
    };

    /// The one that the domain uses on which this is called; none outside a run.
    pub fn current() -> Option<Reactor> {
        current().map(|reactor| reactor.state.borrow().kernel.kind())
    }
}

impl fmt::Display for Reactor {
    /// In one word: `uring`, `epoll`, `poll`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reactor::Uring => "uring",
            Reactor::Epoll => "epoll",
            Reactor::Poll => "poll",
        })
    }
}

impl FromStr for Reactor {
    type Err = UnknownReactor;

    /// Understands what [`Display`](fmt::Display) gives.
    fn from_str(name: &str) -> Result<Reactor, UnknownReactor> {
        [Reactor::Uring, Reactor::Epoll, Reactor::Poll].into_iter().find(|reactor| reactor.to_string() == name).ok_or(UnknownReactor)
    }
}

/// No [`Reactor`] has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownReactor;

impl fmt::Display for UnknownReactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reactor is `uring`, `epoll` or `poll`")
    }
}

impl std::error::Error for UnknownReactor {}
