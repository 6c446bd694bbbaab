//! What the domains of one run have in common: the table of mailboxes, the settings, the record of a violation.
//!
//! Invariant *Run*: a [`Run`] lies on the stack of `run`, which returns after every domain has ended. A domain, and what it lends its
//! pointer to, lies on the stack of its thread further down.

#![allow(unsafe_code)] // A mailbox is handed out as a pointer that tasks keep, under *Kept* (see `task`).

use core::ptr::NonNull;

use crate::container::mailbox::Mailbox;
use crate::id::DomainId;
use crate::run::Config;
use crate::shim::{AtomicBool, AtomicUsize, Lock, Ordering};
use crate::task::InboxChain;
use crate::violation::Violation;

/// Keeps what different domains write on different cache lines.
#[repr(align(128))]
struct Apart {
    mailbox: Mailbox<InboxChain>,
    /// A thread runs this domain, or did.
    claimed: AtomicBool,
}

impl Apart {
    fn new() -> Self {
        Apart { mailbox: Mailbox::new(), claimed: AtomicBool::new(false) }
    }
}

#[cfg(feature = "alloc")]
type Table = alloc::boxed::Box<[Apart]>;
/// Workers need the heap, for `call`; without it there is domain 0.
#[cfg(not(feature = "alloc"))]
type Table = [Apart; 1];

/// See the [module](self).
pub(crate) struct Run {
    pub(crate) config: Config,
    mailboxes: Table,
    /// Domains that have not made their event source yet. The main task begins when there is none.
    starting: AtomicUsize,
    /// The platform called for a domain that is not its to call for: the run ends, and `run` panics.
    refused: AtomicBool,
    /// Something broke: no task is polled any more, and all are cancelled.
    aborting: AtomicBool,
    /// The main task has ended, and its subtree with it: the workers leave.
    stopped: AtomicBool,
    violations: Lock<Option<Violation>>,
}

impl Run {
    /// How many workers a run can have.
    #[cfg(feature = "alloc")]
    pub(crate) const MOST_WORKERS: usize = DomainId::MAX - 1;
    /// How many workers a run can have.
    #[cfg(not(feature = "alloc"))]
    pub(crate) const MOST_WORKERS: usize = 0;

    pub(crate) fn new(config: Config) -> Run {
        #[cfg(feature = "alloc")]
        let mailboxes = (0..=config.domains).map(|_| Apart::new()).collect();
        #[cfg(not(feature = "alloc"))]
        let mailboxes = [Apart::new()];
        let starting = AtomicUsize::new(config.domains);
        Run {
            config,
            mailboxes,
            starting,
            refused: AtomicBool::new(false),
            aborting: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            violations: Lock::new(None),
        }
    }

    /// How many domains there are, domain 0 included.
    pub(crate) fn domains(&self) -> usize {
        self.mailboxes.len()
    }

    pub(crate) fn mailbox(&self, domain: DomainId) -> &Mailbox<InboxChain> {
        &self.mailboxes[domain.index()].mailbox
    }

    /// Whether this thread may run the domain: it is one of the run's, and nobody else runs it or did. A domain's mailbox has one reader,
    /// which must not depend on the platform keeping its contract.
    pub(crate) fn claim(&self, domain: DomainId) -> bool {
        self.mailboxes.get(domain.index()).is_some_and(|place| !place.claimed.swap(true, Ordering::AcqRel))
    }

    /// A call of the platform's was refused: ends the run before its main task is polled, as not every domain may ever start.
    pub(crate) fn refuse(&self) {
        // In this order: who sees that no start is waited for sees the end that was decided before.
        self.aborting.store(true, Ordering::Release);
        self.refused.store(true, Ordering::Release);
        self.mailbox(DomainId::ZERO).ring();
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// The mailbox, as tasks keep it.
    pub(crate) fn address(&self, domain: DomainId) -> NonNull<Mailbox<InboxChain>> {
        NonNull::from(self.mailbox(domain))
    }

    /// A worker has made its event source, or will not have one.
    pub(crate) fn started(&self) {
        self.starting.fetch_sub(1, Ordering::AcqRel);
        self.mailbox(DomainId::ZERO).ring();
    }

    pub(crate) fn all_started(&self) -> bool {
        self.starting.load(Ordering::Acquire) == 0 || self.is_refused()
    }

    pub(crate) fn violated(&self, violation: Violation) {
        self.violations.with(|first| match first {
            Some(first) => first.others += 1,
            None => *first = Some(violation),
        });
        self.abort();
    }

    pub(crate) fn violation(&self) -> Option<Violation> {
        self.violations.with(|first| *first)
    }

    /// Ends the run, in order: domain 0 cancels the main task, and with it everything.
    pub(crate) fn abort(&self) {
        self.aborting.store(true, Ordering::Release);
        self.mailbox(DomainId::ZERO).ring();
    }

    pub(crate) fn is_aborting(&self) -> bool {
        self.aborting.load(Ordering::Acquire)
    }

    /// The main task has ended: the workers may leave.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        for mailbox in self.mailboxes.iter().skip(1) {
            mailbox.mailbox.ring();
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}
