//! Why the program cannot do what it was asked: one line for a person, one status for a script.

use std::fmt;
use std::io;
use std::process::ExitCode;

use matou_unix::SpawnError;

/// What ends the program without totals.
#[derive(Debug)]
pub(crate) enum Problem {
    /// It was asked for what makes no sense.
    Usage(String),
    /// The system refused something.
    System(String),
}

impl Problem {
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

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Problem {
        Problem::System(error.to_string())
    }
}

impl<F> From<SpawnError<F>> for Problem {
    fn from(error: SpawnError<F>) -> Problem {
        Problem::System(error.to_string())
    }
}
