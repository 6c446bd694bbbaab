//! Why a connection did not end well, told apart by kind.
//!
//! Whatever happens to a connection is that connection's problem only: it ends, its kind is counted, and the server
//! goes on. The kinds are those an operator acts on differently; what fits none of them is `other`.

use std::fmt;
use std::io;

use matou_unix::Exit;
use rustix::io::Errno;

/// The kind of an abnormal end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The peer reset the connection.
    Reset,
    /// The peer was gone when an answer was sent.
    BrokenPipe,
    /// The system gave the peer up.
    TimedOut,
    /// No byte moved for longer than the idle timeout.
    Idle,
    /// It was still open when the grace was over.
    Cancelled,
    /// It was accepted only to be closed, for want of descriptors.
    Shed,
    /// Anything else, a panic included.
    Other,
}

impl Failure {
    /// How many kinds there are.
    pub(crate) const KINDS: usize = Failure::ALL.len();

    /// Every kind, in the order in which they are reported; the position of a kind is its discriminant.
    pub(crate) const ALL: [Failure; 7] =
        [Failure::Reset, Failure::BrokenPipe, Failure::TimedOut, Failure::Idle, Failure::Cancelled, Failure::Shed, Failure::Other];

    /// The kind of a handler's abnormal end.
    pub(crate) fn of(exit: &Exit<io::Error>) -> Failure {
        match exit {
            Exit::Failed(error) => Failure::of_error(error),
            Exit::Cancelled => Failure::Cancelled,
            Exit::Panicked(_) => Failure::Other,
        }
    }

    /// The kind of an error. [`Idle`] is told from the system's own timeout by its type.
    pub(crate) fn of_error(error: &io::Error) -> Failure {
        if error.get_ref().is_some_and(|inner| inner.is::<Idle>()) {
            return Failure::Idle;
        }
        match Errno::from_io_error(error) {
            Some(Errno::CONNRESET | Errno::CONNABORTED) => Failure::Reset,
            Some(Errno::PIPE) => Failure::BrokenPipe,
            Some(Errno::TIMEDOUT) => Failure::TimedOut,
            _ => Failure::Other,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::Reset => "reset",
            Failure::BrokenPipe => "broken pipe",
            Failure::TimedOut => "timed out",
            Failure::Idle => "idle",
            Failure::Cancelled => "cancelled",
            Failure::Shed => "shed",
            Failure::Other => "other",
        })
    }
}

/// No byte moved on a connection for longer than the idle timeout.
#[derive(Debug)]
pub(crate) struct Idle;

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was idle for too long")
    }
}

impl std::error::Error for Idle {}

impl From<Idle> for io::Error {
    fn from(idle: Idle) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, idle)
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Idle};
    use matou_unix::Exit;
    use rustix::io::Errno;
    use std::io;

    #[test]
    fn each_position_is_its_discriminant() {
        for (position, kind) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, position);
        }
    }

    #[test]
    fn errors_by_kind() {
        for (errno, kind) in [
            (Errno::CONNRESET, Failure::Reset),
            (Errno::PIPE, Failure::BrokenPipe),
            (Errno::TIMEDOUT, Failure::TimedOut),
            (Errno::HOSTUNREACH, Failure::Other),
        ] {
            assert_eq!(Failure::of(&Exit::Failed(errno.into())), kind);
        }
        assert_eq!(Failure::of(&Exit::Failed(Idle.into())), Failure::Idle);
        assert_eq!(Failure::of(&Exit::Failed(io::ErrorKind::WriteZero.into())), Failure::Other);
        assert_eq!(Failure::of(&Exit::Cancelled), Failure::Cancelled);
    }
}
