//! What every task of the servers may look at: the options that concern a connection, and the counters.
//!
//! One for the process, shared over all domains; the counters in it are each domain's own, and what is said once is said by whoever is first.

use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Tells an operator something.
    warn: fn(&str),
    /// Whether it was told that descriptors have run out.
    short: AtomicBool,
}

impl Context {
    /// For a server with so many workers.
    pub(crate) fn new(idle_timeout: Option<Duration>, grace: Duration, workers: usize, warn: fn(&str)) -> Context {
        Context { idle_timeout, grace, board: Board::new(workers), warn, short: AtomicBool::new(false) }
    }

    /// Descriptors have run out: says so, once.
    pub(crate) fn tell_shortage(&self) {
        if !self.short.swap(true, Ordering::Relaxed) {
            (self.warn)(
                "out of descriptors: until connections end, new ones are turned away or wait; raise `ulimit -n`, or let fewer in with --max-connections",
            );
        }
    }

    /// The counters of the domain this runs on.
    pub(crate) fn counters(&self) -> &Counters {
        let domain = domain::current().expect("only tasks count, and a task is on a domain");
        self.board.domain(domain.index())
    }
}
