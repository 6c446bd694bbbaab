//! What the domains of one run have in common: the table of mailboxes, the settings, the record of a violation.
//!
//! Invariant *Run*: a [`Run`] lies on the stack of `run`, which returns after every domain has ended. A domain, and what it lends its
//! pointer to, lies on the stack of its thread further down.

#![allow(unsafe_code)] // A mailbox is handed out as a pointer that tasks keep, under *Kept* (see `task`).

#[cfg(feature = "alloc")]
use alloc::{sync::Arc, vec::Vec};
use core::ptr::NonNull;
#[cfg(feature = "alloc")]
use core::time::Duration;

#[cfg(feature = "alloc")]
use super::survey::{Door, Opened, Question};
use crate::container::mailbox::Mailbox;
use crate::id::{DomainId, TaskId};
use crate::run::Config;
use crate::shim::{AtomicBool, AtomicUsize, Lock, Ordering, fault};
use crate::task::InboxChain;
use crate::violation::Violation;

/// Keeps what different domains write on different cache lines.
#[repr(align(128))]
pub(crate) struct Apart {
    mailbox: Mailbox<InboxChain>,
    /// A thread runs this domain, or did.
    claimed: AtomicBool,
    /// What is asked of the domain, or the end of the run, is to be looked for before the next poll.
    hailed: AtomicBool,
    /// Somebody has put a question here.
    #[cfg(feature = "alloc")]
    asked: AtomicBool,
    #[cfg(feature = "alloc")]
    /// None once the domain has left.
    questions: Lock<Option<Vec<Question>>>,
    running: Running,
}

/// The task whose code a domain began to run last: written at each step, read by those who wonder why it does not answer.
#[repr(align(128))]
struct Running([AtomicUsize; Running::WORDS]);

impl Running {
    /// Of an id: one, or two halves where atomics are small.
    const WORDS: usize = size_of::<TaskId>() / size_of::<usize>();

    fn new() -> Running {
        Running(core::array::from_fn(|_| AtomicUsize::new(usize::MAX)))
    }
}

impl Apart {
    fn new() -> Self {
        Apart {
            mailbox: Mailbox::new(),
            claimed: AtomicBool::new(false),
            hailed: AtomicBool::new(false),
            #[cfg(feature = "alloc")]
            asked: AtomicBool::new(false),
            #[cfg(feature = "alloc")]
            questions: Lock::new(Some(Vec::new())),
            running: Running::new(),
        }
    }
}

impl Apart {
    pub(super) fn mailbox(&self) -> &Mailbox<InboxChain> {
        &self.mailbox
    }

    /// Has the domain look at what was written for it before this, at the next boundary between polls.
    fn hail(&self) {
        // A swap, not a store: who heeds the later one of two has seen what was written before the earlier one, too.
        let order = if fault("hail_relaxed") { Ordering::Relaxed } else { Ordering::Release };
        if fault("hail_stored") {
            return self.hailed.store(true, order);
        }
        self.hailed.swap(true, order);
    }

    #[inline]
    pub(crate) fn is_hailed(&self) -> bool {
        self.hailed.load(Ordering::Relaxed)
    }

    /// The domain looks now: who writes after this hails anew.
    #[inline]
    pub(crate) fn heed(&self) {
        if self.is_hailed() {
            self.hailed.swap(false, Ordering::Acquire);
        }
    }

    /// The domain begins to run this task's code.
    #[inline]
    pub(super) fn note_running(&self, task: TaskId) {
        for (index, word) in self.running.0.iter().enumerate() {
            word.store((task.to_bits() >> (index as u32 * usize::BITS)) as usize, Ordering::Relaxed);
        }
    }

    /// The task whose code the domain began to run last, as far as another thread can tell: two halves may be of two tasks.
    #[cfg(feature = "alloc")]
    pub(crate) fn running(&self) -> Option<TaskId> {
        let words = self.running.0.iter().enumerate();
        let bits = words.fold(0, |bits, (index, word)| bits | (word.load(Ordering::Relaxed) as u64) << (index as u32 * usize::BITS));
        (bits != TaskId::NOBODY.to_bits()).then(|| TaskId::from_bits(bits))
    }

    /// Whether somebody has put a question here.
    #[cfg(feature = "alloc")]
    #[inline]
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
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
    #[cfg(feature = "alloc")]
    door: Arc<Door>,
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
            #[cfg(feature = "alloc")]
            door: Arc::default(),
        }
    }

    /// How many domains there are, domain 0 included.
    pub(crate) fn domains(&self) -> usize {
        self.mailboxes.len()
    }

    /// How long a domain that has nothing to do may watch for what another sends; there is one at least.
    #[cfg(feature = "alloc")]
    pub(crate) fn spin(&self) -> Duration {
        if self.domains() > 1 { self.config.spin } else { Duration::ZERO }
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
        self.set_aborting();
        self.refused.store(true, Ordering::Release);
        self.mailbox(DomainId::ZERO).ring();
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// The domain whose mailbox this is.
    pub(crate) fn domain_of(&self, address: NonNull<Mailbox<InboxChain>>) -> DomainId {
        let index = self.mailboxes.iter().position(|place| core::ptr::eq(&place.mailbox, address.as_ptr()));
        DomainId::new(index.unwrap_or_else(|| unreachable!("a task's home is one of its run's")))
    }

    /// What a domain keeps at hand of this.
    pub(crate) fn place(&self, domain: DomainId) -> &Apart {
        &self.mailboxes[domain.index()]
    }

    /// The mailbox, as tasks keep it.
    pub(crate) fn address(&self, domain: DomainId) -> NonNull<Mailbox<InboxChain>> {
        NonNull::from(self.mailbox(domain))
    }

    /// A worker has made its event source, or will not have one.
    pub(crate) fn started(&self) {
        self.starting.fetch_sub(1, Ordering::AcqRel);
        if fault("start_not_rung") {
            return;
        }
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
        self.set_aborting();
        if fault("abort_not_rung") {
            return;
        }
        self.mailbox(DomainId::ZERO).ring();
    }

    fn set_aborting(&self) {
        if fault("hail_first") {
            self.mailboxes.iter().for_each(Apart::hail);
        }
        self.aborting.store(true, Ordering::Release);
        self.mailboxes.iter().filter(|_| !fault("hail_first")).for_each(Apart::hail);
    }

    pub(crate) fn is_aborting(&self) -> bool {
        self.aborting.load(Ordering::Acquire)
    }

    /// The main task has ended: the workers may leave.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        for mailbox in self.mailboxes.iter().skip(1).filter(|_| !fault("stop_not_rung")) {
            mailbox.mailbox.ring();
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// Questions put to the domains: see [`dump`](crate::dump).
#[cfg(feature = "alloc")]
impl Run {
    /// Lets those in who ask, until what it gives is dropped.
    pub(crate) fn open(&self) -> Opened<'_> {
        self.door.open(self)
    }

    pub(crate) fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// How many questions a domain answers between two steps: askers that never stop must not keep the tasks from running.
    const ANSWERED_AT_ONCE: usize = 8;

    /// Puts a question to a domain, which answers between two steps. It is ended unanswered with the run at the latest.
    pub(crate) fn ask(&self, domain: DomainId, question: Question) {
        let place = &self.mailboxes[domain.index()];
        // Dropped outside the lock: they may wake whoever asks.
        let mut gone = Vec::new();
        let refused = place.questions.with(|questions| match questions {
            Some(questions) => {
                // Those who ask and do not wait fill the box of a domain that is busy.
                if questions.len() >= Run::ANSWERED_AT_ONCE && questions.len().is_power_of_two() {
                    gone.extend(questions.extract_if(.., |question| question.is_idle()));
                }
                questions.push(question);
                None
            }
            None => Some(question),
        });
        drop(gone);
        if refused.is_some() {
            return;
        }
        place.asked.store(!fault("question_unannounced"), Ordering::Release);
        place.hail();
        place.mailbox.ring();
    }

    /// The domain answers no more. By the domain.
    pub(crate) fn close_questions(&self, domain: DomainId) {
        drop(self.mailboxes[domain.index()].questions.with(Option::take));
    }

    /// The questions put to a domain. By the domain.
    pub(crate) fn questions(&self, domain: DomainId) -> Vec<Question> {
        let place = &self.mailboxes[domain.index()];
        // First: a question put after this is announced anew.
        place.asked.swap(false, Ordering::Acquire);
        let mut taken = Vec::with_capacity(Run::ANSWERED_AT_ONCE);
        let left = place.questions.with(|questions| match questions {
            Some(questions) => {
                taken.extend(questions.drain(..questions.len().min(Run::ANSWERED_AT_ONCE)));
                !questions.is_empty()
            }
            None => false,
        });
        if left {
            place.asked.store(true, Ordering::Release);
        }
        taken
    }
}
