//! What every task of the servers may look at: the options that concern a connection, and the counters.
//!
//! One for the process, shared over all domains and read only; the counters in it are each domain's own.

use std::time::Duration;

use matou_unix::domain;

use crate::stats::{Board, Counters};

/// The options that concern connections, and where to count them.
#[derive(Debug)]
pub(crate) struct Context {
    /// How long a connection may be silent.
    pub(crate) idle_timeout: Option<Duration>,
    /// How long connections may go on after a signal to stop.
    pub(crate) grace: Duration,
    /// All counters.
    pub(crate) board: Board,
}

impl Context {
    /// The counters of the domain this runs on.
    pub(crate) fn counters(&self) -> &Counters {
        let domain = domain::current().expect("only tasks count, and a task is on a domain");
        self.board.domain(domain.index())
    }
}
