//! A domain: one thread of execution with its own tasks, timers and suspension points.
//!
//! A `Domain` lives on the stack of the thread that runs it, from the start of a run to its end, and everything in it is a cell that
//! only this thread touches. What other threads may touch is its mailbox, which lies in the run's table.
//!
//! A thread may run several domains in turn: a simulation does. What is not `Send` can then be used, and dropped, while another domain than
//! its own is the current one. It finds what it is linked in by itself, not by the thread, and tells domains apart by their `Epoch`.
//!
//! | file | what it does |
//! | --- | --- |
//! | `identity` | which domain is this thread's, with and without `std` |
//! | `shared` | what the domains of a run have in common |
//! | `family` | births, cancellations, ends: the tree of tasks |
//! | `group` | children kept aside: `Orphans`, scopes |
//! | `drive` | the loop |
//! | `run_queue` | who is polled next |
//! | `budget` | how much a task may do in one poll, and how far the polls go before the domain does more |
//! | `vigil` | whether it stays awake for a moment before it sleeps |
//! | `points` | suspension points |
//! | `hooks` | what is called at each step |
//! | `tell` | what is told to the consumer of trace events |
//! | `survey` | what is told to those who ask for the tree of tasks |
//! | `alive` | who is still there, for the simulation |
//!
//! Foreign code (wakers, destructors, finalisers, closures) may call back into the runtime. It is therefore only run where no borrow of
//! anything in the domain is held; a cell's content is moved out first.

#![allow(unsafe_code)] // Follows the pointers to tasks, mailboxes and the clock, under the invariants of `task` and *Run* (see `shared`).

#[cfg(feature = "simulation")]
pub(crate) mod alive;
mod budget;
pub(crate) mod drive;
pub(crate) mod family;
#[cfg(feature = "alloc")]
pub(crate) mod group;
pub(crate) mod hooks;
pub(crate) mod identity;
pub(crate) mod points;
pub(crate) mod run_queue;
pub(crate) mod shared;
#[cfg(feature = "alloc")]
pub(crate) mod survey;
mod tell;
#[cfg(feature = "alloc")]
mod vigil;

#[cfg(feature = "alloc")]
use alloc::collections::BTreeMap;
use core::cell::Cell;
#[cfg(feature = "alloc")]
use core::cell::RefCell;
use core::ptr::NonNull;
use core::task::Waker;

use self::hooks::Hooks;
use self::points::Points;
use self::run_queue::RunQueue;
use self::shared::{Apart, Run};
use crate::container::fifo::Fifo;
use crate::container::mailbox::Mailbox;
use crate::container::timer_queue::{self, TimerQueue};
use crate::id::{DomainId, PointId, TaskId};
use crate::outcome::{Panic, catch, discard};
use crate::platform::Interrupt;
use crate::random::Random;
use crate::shim::Counter;
#[cfg(feature = "alloc")]
use crate::task::cache::Cache;
use crate::task::{Header, InboxChain, TaskRef, home, waker};
use crate::time::Instant;
use crate::trace::{EventKind, Trace};
use crate::violation::{Report, ReportPlace, Violation, ViolationKind};

#[cfg(feature = "alloc")]
use self::group::Frame;

/// Tells one domain of one run from all others of the process, those of earlier runs included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Epoch(usize);

impl Epoch {
    fn next() -> Epoch {
        static EPOCHS: Counter = Counter::new(0);
        Epoch(EPOCHS.fetch_add(1, core::sync::atomic::Ordering::Relaxed))
    }
}

/// What a domain asks for the time: its event source.
pub(crate) trait Clock {
    /// The time; none while the event source is busy in `select`, as that has the source for itself.
    fn now(&self) -> Option<Instant>;
}

/// A domain's interrupt, as those call it who wake the domain: they are not at fault if it panics.
pub(crate) struct Bell<I>(pub(crate) I);

impl<I: Interrupt> Interrupt for Bell<I> {
    fn interrupt(&self) {
        Domain::call_stranger(ReportPlace::Interrupt, || self.0.interrupt());
    }
}

/// See the [module](self).
pub(crate) struct Domain {
    pub(crate) id: DomainId,
    epoch: Epoch,
    /// What the domains have in common; it outlives every domain (*Run*).
    run: NonNull<Run>,
    /// The task being polled or whose future is being dropped.
    current: Cell<Option<TaskRef>>,
    /// The scope being polled, whose children new ones are.
    #[cfg(feature = "alloc")]
    pub(crate) scope: Cell<Option<NonNull<Frame>>>,
    /// Whom to tell of events; none while it is being told, and after it panicked.
    tracer: Cell<Option<&'static dyn Trace>>,
    /// When the tasks made here were born, until their ends have arrived here. Where that is kept.
    #[cfg(feature = "alloc")]
    births: Option<RefCell<BTreeMap<TaskId, Instant>>>,
    /// Its place in the run's table (*Run*).
    place: NonNull<Apart>,
    /// Tasks are announced: there was a tracer at the start, or births are kept.
    watched: bool,
    /// Tasks to poll.
    runnable: RunQueue,
    /// Nodes to look at before any task is polled: taken from the mailbox, or cancelled here.
    attending: Fifo<InboxChain>,
    /// Tasks that have ended and whose node is still to be taken from the mailbox.
    limbo: Cell<usize>,
    /// The main task, once it was adopted. On domain 0 only.
    #[cfg(feature = "alloc")]
    root: Cell<Option<TaskRef>>,
    /// The main task has ended. On domain 0 only.
    pub(crate) root_ended: Cell<bool>,
    /// The name of the task that is made next.
    unborn: Cell<TaskId>,
    /// Effects and polls so far.
    effects: Cell<u64>,
    /// How far `effects` may go in the current poll: the rest is its budget.
    spent_at: Cell<u64>,
    /// How far `effects` may go before the event source is asked again.
    look_at: Cell<u64>,
    /// How far `effects` may go before the loop does more between two polls than to take the next task: to `look_at`, or no further.
    pause_at: Cell<u64>,
    quanta: u64,
    pub(crate) timers: TimerQueue,
    pub(crate) points: Points,
    pub(crate) hooks: Hooks,
    /// Whether the event source lets tasks suspend.
    pub(crate) suspends: bool,
    clock: Cell<Option<NonNull<dyn Clock>>>,
    /// The last time the clock gave; it stands in while the event source is busy in `select`.
    last_now: Cell<Instant>,
    /// What the clock said when it panicked in `time`.
    pub(crate) clock_panic: Cell<Option<Panic>>,
    pub(crate) random: Random,
    #[cfg(feature = "alloc")]
    pub(crate) cache: Cache,
}

impl Domain {
    /// The domain `id` of a run.
    ///
    /// # Safety
    /// `run` outlives the domain (*Run*).
    #[inline(never)] // What it is made from is not in the frame of `run` for as long as that lasts: small processors have small stacks.
    pub(crate) unsafe fn new(id: DomainId, run: NonNull<Run>, suspends: bool) -> Domain {
        // SAFETY: *Run*, promised by the caller.
        let shared = unsafe { run.as_ref() };
        let config = &shared.config;
        Domain {
            id,
            epoch: Epoch::next(),
            run,
            current: Cell::new(None),
            #[cfg(feature = "alloc")]
            scope: Cell::new(None),
            tracer: Cell::new(config.trace),
            place: NonNull::from(shared.place(id)),
            #[cfg(feature = "alloc")]
            births: config.births.then(RefCell::default),
            #[cfg(feature = "alloc")]
            watched: config.trace.is_some() || config.births,
            #[cfg(not(feature = "alloc"))]
            watched: config.trace.is_some(),
            runnable: RunQueue::new(config.quanta),
            attending: Fifo::new(),
            limbo: Cell::new(0),
            #[cfg(feature = "alloc")]
            root: Cell::new(None),
            root_ended: Cell::new(false),
            unborn: Cell::new(TaskId::new(id, 0)),
            effects: Cell::new(0),
            spent_at: Cell::new(0),
            look_at: Cell::new(config.quanta.into()),
            pause_at: Cell::new(0),
            quanta: config.quanta.into(),
            timers: TimerQueue::new(timer_queue::FEW),
            points: Points::new(),
            hooks: Hooks::new(),
            suspends,
            clock: Cell::new(None),
            last_now: Cell::new(Instant::from_nanos(0)),
            clock_panic: Cell::new(None),
            random: Random::new(config.seed, id.index() as u64),
            #[cfg(feature = "alloc")]
            cache: Cache::new(),
        }
    }

    /// Calls `f` with this thread's domain, if it runs one.
    pub(crate) fn with<R>(f: impl FnOnce(&Domain) -> R) -> Option<R> {
        // SAFETY: *Run*: the pointer is set while the domain it leads to is alive, further up this thread's stack.
        identity::get().map(|domain| f(unsafe { domain.as_ref() }))
    }

    /// Calls `f` with this thread's domain and the current task, if there is one.
    pub(crate) fn with_task<R>(f: impl FnOnce(&Domain, TaskRef) -> R) -> Option<R> {
        // SAFETY: *Run*, as in `with`.
        let domain = unsafe { identity::get()?.as_ref() };
        domain.current.get().map(|task| f(domain, task))
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn run(&self) -> &Run {
        // SAFETY: *Run*.
        unsafe { self.run.as_ref() }
    }

    pub(crate) fn mailbox(&self) -> &Mailbox<InboxChain> {
        // SAFETY: *Run*: it lies in the run's table.
        unsafe { self.place.as_ref() }.mailbox()
    }

    pub(crate) fn current(&self) -> Option<TaskRef> {
        self.current.get()
    }

    /// Calls `f` with `task` as the current one, and no scope.
    pub(crate) fn as_task<R>(&self, task: Option<TaskRef>, f: impl FnOnce() -> R) -> R {
        /// Restores what was before, also when `f` unwinds.
        struct Restore<'a> {
            domain: &'a Domain,
            current: Option<TaskRef>,
            #[cfg(feature = "alloc")]
            scope: Option<NonNull<Frame>>,
        }
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.domain.current.set(self.current);
                #[cfg(feature = "alloc")]
                self.domain.scope.set(self.scope);
            }
        }
        let _restore = Restore {
            domain: self,
            current: self.current.replace(task),
            #[cfg(feature = "alloc")]
            scope: self.scope.replace(None),
        };
        f()
    }

    /// Calls `f` with `task` as the current one. Between polls: no task is, and there is no scope.
    fn as_current<R>(&self, task: TaskRef, f: impl FnOnce() -> R) -> R {
        /// Also when `f` unwinds.
        struct Leave<'a>(&'a Domain);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.current.set(None);
            }
        }
        debug_assert!(self.current.get().is_none(), "between polls");
        #[cfg(feature = "alloc")]
        debug_assert!(self.scope.get().is_none(), "between polls");
        self.current.set(Some(task));
        let _leave = Leave(self);
        f()
    }

    pub(crate) fn is_home_of(&self, task: &Header) -> bool {
        core::ptr::eq(task.home.as_ptr(), self.mailbox())
    }

    /// Puts a task into the run queue, unless it is there or is closed. On its home domain.
    pub(crate) fn make_runnable(&self, task: TaskRef) {
        // SAFETY: *Counted*: the caller holds the task; *Home*.
        let header = unsafe { task.as_ref() };
        if header.home_flags.has(home::RUNNABLE | home::CLOSED) {
            return;
        }
        header.home_flags.set(home::RUNNABLE);
        crate::task::expect(task);
        // SAFETY: not in the queue, as RUNNABLE was not set; the home domain holds it until it is popped.
        unsafe { self.runnable.push(task) };
    }

    /// A point, if there is place for one.
    #[inline]
    pub(crate) fn open_point(&self) -> Option<PointId> {
        let id = self.points.open();
        // It may have been the last place, while there are others that are free once the source was told.
        if cfg!(not(feature = "alloc")) && self.points.are_pressing() {
            self.pause();
        }
        id
    }

    /// The owner of a point lets go of it. Its waker is for the caller to drop.
    pub(crate) fn close_point(&self, id: PointId) -> Option<Waker> {
        let waker = self.points.close(id);
        if self.points.are_pressing() {
            self.pause();
        }
        waker
    }

    /// The time on the event source's clock.
    pub(crate) fn now(&self) -> Instant {
        if let Some(clock) = self.clock.get() {
            // It is foreign code, and no part of the task that asks: that may be in the midst of an edit of what it owns.
            // SAFETY: *Lent* (see `drive`): set while the clock is alive, further up this thread's stack.
            if let Some(now) = self.as_task(None, || unsafe { clock.as_ref() }.now()) {
                self.last_now.set(now);
            }
        }
        self.last_now.get()
    }

    /// As `now`, where a panic of the clock may not unwind: the last time stands in, and the loop ends the run.
    pub(crate) fn time(&self) -> Instant {
        if let Err(panic) = catch(|| self.now()) {
            // The loop finds it before the next poll.
            self.pause();
            if let Some(later) = self.clock_panic.replace(Some(panic)) {
                discard(later);
            }
        }
        self.last_now.get()
    }

    /// Whether the clock has panicked where that could not unwind, and the loop has not seen it.
    fn has_broken_clock(&self) -> bool {
        let panicked = self.clock_panic.take();
        let any = panicked.is_some();
        self.clock_panic.set(panicked);
        any
    }

    /// A name that no task of this run has had.
    pub(crate) fn next_id(&self) -> TaskId {
        let id = self.unborn.get();
        self.unborn.set(id.next());
        id
    }

    /// A task broke a rule: this stops the run.
    pub(crate) fn violate(&self, task: TaskRef, kind: ViolationKind) {
        // SAFETY: *Counted*: the task is the current one or one of this domain's; `name` asks no more than that it is valid.
        let (header, name) = unsafe { (task.as_ref(), crate::task::name(task)) };
        header.home_flags.set(home::VIOLATED);
        let violation = Violation { kind, task: header.id, name, born: header.born, others: 0 };
        self.run().violated(violation);
        self.trace(|| EventKind::Violation(violation));
    }

    /// Tells of a panic that cannot be returned to anybody.
    pub(crate) fn report(place: ReportPlace, panic: Panic) {
        let told = Domain::with(|domain| {
            let report = Report { place, domain: domain.id, panic };
            if let Some(on_report) = domain.run().config.on_report
                && let Err(panic) = domain.as_task(None, || catch(|| on_report(&report)))
            {
                discard(panic);
            }
            report.panic
        });
        if let Some(panic) = told {
            discard(panic);
        }
    }

    /// Wakes, from any place.
    pub(crate) fn wake(waker: Waker) {
        if waker::is_a_tasks(&waker) {
            // That is no foreign code.
            waker.wake();
        } else {
            Domain::call_stranger(ReportPlace::Waker, || waker.wake());
        }
    }

    /// Drops a waker, from any place.
    pub(crate) fn drop_waker(waker: Option<Waker>) {
        if let Some(waker) = waker.filter(|waker| !waker::is_a_tasks(waker)) {
            Domain::call_stranger(ReportPlace::Waker, || drop(waker));
        }
    }

    /// Runs foreign code that has nothing to do with the current task, from any place. As [`contain`](Self::contain), and no task is current.
    fn call_stranger(place: ReportPlace, f: impl FnOnce()) {
        let mut f = Some(f);
        let mut call = || f.take().map_or((), |f| f());
        if Domain::with(|domain| domain.foreign(place, &mut call)).is_none() {
            Domain::contain(place, call);
        }
    }

    /// Runs foreign code, from any place. A panic is reported where there is a domain to report it, and goes no further.
    pub(crate) fn contain(place: ReportPlace, f: impl FnOnce()) {
        if let Err(panic) = catch(f) {
            if identity::is_set() { Domain::report(place, panic) } else { discard(panic) }
        }
    }

    /// Wakes, between polls.
    #[inline]
    fn wake_between_polls(&self, waker: Waker) {
        if waker::is_a_tasks(&waker) {
            // That is no foreign code.
            waker.wake();
        } else {
            self.uncounted(|| self.foreign(ReportPlace::Waker, || waker.wake()));
        }
    }

    /// Runs foreign code with no current task, and reports its panic.
    pub(crate) fn foreign(&self, place: ReportPlace, f: impl FnOnce()) {
        self.as_task(None, || {
            if let Err(panic) = catch(f) {
                Domain::report(place, panic);
            }
        });
    }
}

/// The domain of the current task, or of the thread a run was called on; `None` outside a run.
///
/// Miou: `Miou.Domain.self`.
#[doc(alias = "self")]
pub fn current() -> Option<DomainId> {
    Domain::with(|domain| domain.id)
}

/// The domains of the current run, domain 0 included; none outside a run.
///
/// Miou: `Miou.Domain.all`.
pub fn all() -> impl ExactSizeIterator<Item = DomainId> + Clone {
    let count = Domain::with(|domain| domain.run().domains()).unwrap_or(0);
    (0..count).map(DomainId::new)
}

/// How many domains take calls: the workers of the current run; none outside a run.
///
/// So many calls of the main task are one on each worker. (No items are no error: where there may be no worker, and the work is to be done all the same, ask
/// for one at least, and `parallel` says that there is none.)
///
/// ```
/// use matou_core::{NoDomainAvailable, domain, parallel};
///
/// async fn on_each_worker() -> Result<(), NoDomainAvailable> {
///     let results = parallel(|_| async { println!("here I am") }, 0..domain::available().max(1)).await?;
///     // ..
/// #   let _ = results;
///     Ok(())
/// }
/// ```
///
/// A call never runs on its caller's domain. So a task that lives on a worker reaches one worker less: there the last of so many items is a second
/// one for the first of the others, and `0..domain::available() - 1` is one on each other worker.
///
/// Miou: `Miou.Domain.available`.
pub fn available() -> usize {
    Domain::with(|domain| domain.run().domains() - 1).unwrap_or(0)
}
