//! Why the program cannot do what it was asked: one line for a person, one status for a script.

use std::fmt;
use std::io;
use std::process::ExitCode;

use matou_unix::SpawnError;
use rustix::io::Errno;

/// What ends the program without totals.
#[derive(Debug)]
pub(crate) enum Problem {
    /// It was asked for what makes no sense.
    Usage(String),
    /// The system refused something.
    System(String),
}

impl Problem {
    /// The system refused something.
    pub(crate) fn refused(what: impl fmt::Display, error: &io::Error) -> Problem {
        Problem::System(format!("{what}: {}", with_remedy(error)))
    }

    /// 2 for usage, 1 for the system.
    pub(crate) fn status(&self) -> ExitCode {
        match self {
            Problem::Usage(_) => ExitCode::from(2),
            Problem::System(_) => ExitCode::from(1),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Usage(text) => write!(f, "{text} (see echo --help)"),
            Problem::System(text) => f.write_str(text),
        }
    }
}

/// The system's words, and what can be done about it where that is known.
pub(crate) fn with_remedy(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => format!("{error}: raise `ulimit -n`"),
        Some(Errno::NFILE) => format!("{error}: the whole system has too many"),
        _ => error.to_string(),
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Problem {
        Problem::System(with_remedy(&error))
    }
}

impl<F> From<SpawnError<F>> for Problem {
    fn from(error: SpawnError<F>) -> Problem {
        Problem::System(error.to_string())
    }
}
