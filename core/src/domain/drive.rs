//! The loop of a domain.
//!
//! Between any two polls, in this order: nodes from other threads and cancellations ([`Domain::attend`]), then, when it is time, the
//! event source, then the next runnable task. Cancellations and ends therefore pass ordinary tasks; runnable
//! tasks pass nobody but as [`run_queue`](super::run_queue) says.
//!
//! A domain sleeps only when it has nothing runnable, in its event source, and says so in its mailbox first. It may watch its mailbox for a
//! moment before (see `vigil`).
//!
//! The loop is one `step` after the other. [`drive`] runs them on a thread of the domain's own; a simulation runs the steps of several domains
//! on one thread, in turn.
//!
//! When a rule is broken or an event source fails, the run aborts: no task is polled any more, domain 0 cancels the main task, and the
//! cancellation takes its ordinary way down the tree and across domains. So one path ends tasks, in order, in every case.

#![allow(unsafe_code)] // Lends the event source's clock and interrupt out as pointers, for the time of the loop.

use core::cell::{Cell, UnsafeCell};
use core::ptr::NonNull;

use super::points::TOLD_AT_ONCE;
#[cfg(feature = "alloc")]
use super::vigil::{LOOKS, Vigil};
use super::{Bell, Clock, Domain, identity};
use crate::container::mailbox::Slept;
use crate::error::EventsError;
use crate::id::{DomainId, PointId, TaskId};
use crate::outcome::{Panic, catch};
use crate::platform::{Events, Interrupt, Signals, Wait};
#[cfg(feature = "alloc")]
use crate::shim;
use crate::task::{TaskRef, abort};
use crate::time::Instant;
use crate::violation::ReportPlace;

/// Runs a domain until its part of the run is over.
///
/// On domain 0, `root` is the main task. `source` is none where it could not be made: `fail` was called with the reason before.
pub(crate) fn drive<E: Events>(
    domain: &Domain,
    source: Option<Source<E>>,
    root: Option<TaskRef>,
    fail: &dyn Fn(DomainId, EventsError<E::Error>),
) {
    let driver = Driver::new(domain, source.as_ref(), root, fail);
    driver.within(|| driver.run());
    driver.leave();
    if let Err(panic) = catch(|| drop(source)) {
        fail(domain.id, EventsError::Panicked(panic));
    }
}

/// A domain's event source, and what ends its sleep.
pub(crate) struct Source<E: Events> {
    interrupter: Bell<E::Interrupt>,
    events: UnsafeCell<E>,
    selecting: Cell<bool>,
}

impl<E: Events> Source<E> {
    pub(crate) fn new(events: E) -> Source<E> {
        Source { interrupter: Bell(events.interrupter()), events: UnsafeCell::new(events), selecting: Cell::new(false) }
    }

    fn select(&self, wait: Wait, given_up: &[PointId], signals: &mut Signals<'_>) -> Result<(), EventsError<E::Error>> {
        if self.selecting.replace(true) {
            abort("`select` was entered inside `select`");
        }
        // SAFETY: *Exclusive*: `selecting` was not set, so there is no other reference.
        let result = catch(|| unsafe { &mut *self.events.get() }.select(wait, given_up, signals));
        self.selecting.set(false);
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(EventsError::Failed(error)),
            Err(panic) => Err(EventsError::Panicked(panic)),
        }
    }

    fn is_interrupted(&self) -> Result<bool, Panic> {
        // SAFETY: *Exclusive*: `select` alone makes a unique reference, and the loop is not in it.
        catch(|| unsafe { &*self.events.get() }.is_interrupted())
    }
}

impl<E: Events> Clock for Source<E> {
    fn now(&self) -> Option<Instant> {
        if self.selecting.get() {
            return None;
        }
        // SAFETY: *Exclusive*: `select` alone makes a unique reference, and says so in `selecting`.
        Some(unsafe { &*self.events.get() }.now())
    }
}

/// A domain that is being run: from its first step to [`leave`](Driver::leave), without which it may not go.
///
/// Invariant *Lent*: the domain has the source's clock, and its mailbox the source's interrupt, until `leave` has taken them back. The source
/// outlives the driver, whose destructor lets nobody pass who has not left.
pub(crate) struct Driver<'a, E: Events> {
    domain: &'a Domain,
    source: Option<&'a Source<E>>,
    /// The event source failed, or there is none: what remains is to end in order, without it.
    broken: Cell<bool>,
    root: Option<TaskRef>,
    /// The main task was made runnable: all domains have started. On other domains from the beginning.
    begun: Cell<bool>,
    /// Without the heap there is nobody to wait for.
    #[cfg(feature = "alloc")]
    vigil: Vigil,
    /// When the source was last asked in place of a watch.
    #[cfg(feature = "alloc")]
    looked: Cell<Instant>,
    left: bool,
    fail: &'a dyn Fn(DomainId, EventsError<E::Error>),
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stepped {
    /// It took this task from the run queue: polled it, or ended it.
    Ran(TaskId),
    /// It asked the event source.
    Looked,
    /// Nothing is runnable: the domain may sleep.
    Idle,
    /// This domain's part of the run is over.
    Over,
}

impl<E: Events> Drop for Driver<'_, E> {
    /// Ends the process if something unwinds through the loop: the tasks would be left pointing at a domain that is gone.
    fn drop(&mut self) {
        if !self.left {
            abort("a panic that nothing caught reached the loop of a domain");
        }
    }
}

impl<'a, E: Events> Driver<'a, E> {
    /// Lends the source to the domain (*Lent*). See [`drive`] for the arguments.
    pub(crate) fn new(
        domain: &'a Domain,
        source: Option<&'a Source<E>>,
        root: Option<TaskRef>,
        fail: &'a dyn Fn(DomainId, EventsError<E::Error>),
    ) -> Self {
        let driver = Driver {
            domain,
            source,
            broken: Cell::new(source.is_none()),
            root,
            begun: Cell::new(root.is_none()),
            #[cfg(feature = "alloc")]
            vigil: Vigil::new(domain.run().spin()),
            #[cfg(feature = "alloc")]
            looked: Cell::new(Instant::from_nanos(0)),
            left: false,
            fail,
        };
        if let Some(source) = source {
            let clock: *const (dyn Clock + '_) = source;
            // SAFETY: only the lifetime is forgotten; a reference is not null. *Lent*.
            domain.clock.set(Some(unsafe { core::mem::transmute::<*const (dyn Clock + '_), NonNull<dyn Clock>>(clock) }));
            let interrupt: &(dyn Interrupt + 'static) = &source.interrupter;
            // SAFETY: this is the domain, which has not slept. *Lent*: `leave` closes the mailbox.
            unsafe { domain.mailbox().install(NonNull::from(interrupt)) };
        }
        driver
    }

    /// Calls `f` on behalf of the domain, as all its steps must be.
    pub(crate) fn within<R>(&self, f: impl FnOnce() -> R) -> R {
        identity::enter(self.domain, f)
    }

    /// Takes back what was lent. When the domain's part of the run is over.
    pub(crate) fn leave(mut self) {
        let domain = self.domain;
        // What is left belongs to those who leaked it. Unlinked, it is inert.
        // A waker's destructor may set a timer anew, open a point or add a hook: nothing is left when one look finds none.
        self.within(|| {
            #[cfg(feature = "alloc")]
            domain.run().close_questions(domain.id);
            loop {
                domain.clear_hooks();
                match domain.timers.clear().or_else(|| domain.points.clear().map(Some)) {
                    Some(waker) => domain.foreign(ReportPlace::Waker, || drop(waker)),
                    // What those destructors did was traced. And what a clock panicked with may have a destructor, too.
                    None if self.look_at_clock() => {}
                    None => break,
                }
            }
        });
        domain.mailbox().close();
        domain.clock.set(None);
        self.left = true;
    }

    /// Whether a task that has ended is still to be pushed here, by another thread that is in the middle of a wake.
    #[cfg(feature = "simulation")]
    pub(crate) fn awaits_a_push(&self) -> bool {
        self.domain.limbo.get() > 0
    }

    fn run(&self) {
        let domain = self.domain;
        loop {
            // While `step` would do nothing but poll the next task: so it is between most polls.
            let mut idle = false;
            while !idle && domain.goes_on() {
                idle = !domain.poll_one_more();
            }
            // Nor would it do anything then.
            let asleep = idle && self.begun.get() && !self.is_over();
            match if asleep { Stepped::Idle } else { self.step() } {
                Stepped::Ran(_) | Stepped::Looked => {}
                Stepped::Idle => self.sleep(),
                Stepped::Over => return,
            }
            domain.look_around();
        }
    }

    /// What the domain does between two polls, and the next poll if a task is runnable.
    fn step(&self) -> Stepped {
        self.attend();
        self.turn()
    }

    /// The first part of a step: what has arrived. Others may do anything between the two.
    pub(crate) fn attend(&self) {
        // First the hooks, as they may leave something to attend to.
        self.domain.call_hooks();
        self.attend_to_all();
        self.look_at_clock();
    }

    /// However much there is to attend to, the event source is asked as often as between polls.
    fn attend_to_all(&self) {
        self.domain.attend(|| {
            if self.is_time_to_look()
                && let Some(source) = self.source
            {
                self.ask_source(source, Wait::No);
                self.wake_all();
            }
        });
    }

    /// Whether the clock panicked where that could not unwind: then the source has failed.
    fn look_at_clock(&self) -> bool {
        let panicked = self.domain.clock_panic.take();
        let any = panicked.is_some();
        if let Some(panic) = panicked {
            self.source_failed(EventsError::Panicked(panic));
        }
        any
    }

    /// The second part of a step.
    pub(crate) fn turn(&self) -> Stepped {
        let domain = self.domain;
        if self.is_over() {
            return Stepped::Over;
        }
        if let Some(root) = self.root
            && !self.begun.get()
            && domain.run().all_started()
        {
            self.begun.set(true);
            // SAFETY: the main task was made for this domain.
            unsafe { domain.adopt_root(root) };
        }
        // Asked after it was seen that all have started: a domain that could not has said so before, and the main task never runs.
        let aborting = domain.run().is_aborting();
        if let Some(root) = self.root
            && aborting
            && self.begun.get()
            && !domain.root_ended.get()
        {
            domain.cancel_root(root);
            self.attend_to_all();
        }
        match domain.next_runnable() {
            Some(_) if self.is_time_to_look() => {
                self.select(Wait::No);
                Stepped::Looked
            }
            Some(task) => {
                domain.poll_next(!aborting);
                Stepped::Ran(task)
            }
            None if self.is_over() => Stepped::Over,
            None => Stepped::Idle,
        }
    }

    /// Whether this domain's part of the run is over: the main task has ended, and nothing here leads to a task any more.
    fn is_over(&self) -> bool {
        let ended = match self.root {
            Some(_) => self.domain.root_ended.get(),
            None => self.domain.run().is_stopped(),
        };
        ended && self.domain.is_empty()
    }

    /// R35: at the first boundary after `quanta` effects or polls, where somebody waits for the event source. R34: at once, where it is to be
    /// told of many that do no more.
    fn is_time_to_look(&self) -> bool {
        let domain = self.domain;
        if !domain.is_time_up() {
            return false;
        }
        let waits = !self.broken.get() && (domain.points.any() || !domain.timers.is_empty() || self.is_interrupted());
        if !waits {
            domain.put_off_looking();
            return false;
        }
        true
    }

    /// Whether the source has something to do that nobody here waits for.
    fn is_interrupted(&self) -> bool {
        let asked = self.source.map_or(Ok(false), Source::is_interrupted);
        asked.unwrap_or_else(|panic| {
            self.source_failed(EventsError::Panicked(panic));
            false
        })
    }

    /// Waits for an event, a timer, or another thread. Nothing is runnable.
    fn sleep(&self) {
        // Where the main task has ended, only a push under way on another thread is waited for.
        if self.broken.get() || (!E::SUSPENDS && self.domain.root_ended.get()) {
            return rest();
        }
        #[cfg(feature = "alloc")]
        self.wait();
        #[cfg(not(feature = "alloc"))]
        if let Some(wait) = self.fall_asleep() {
            self.select(wait);
        }
    }

    /// Watches first, where it is likely that another domain sends something.
    #[cfg(feature = "alloc")]
    fn wait(&self) {
        let domain = self.domain;
        let began = self.vigil.begin(|| domain.time());
        let watch = began.and_then(|began| self.vigil.watch(began));
        if let Some(began) = began
            && watch.is_some()
            && self.is_source_due(began)
        {
            self.looked.set(began);
            return self.select(Wait::No);
        }
        if watch.is_some_and(|(until, rounds)| self.watch(until, rounds)) {
            return self.vigil.found(true);
        }
        if self.is_disturbed() {
            return;
        }
        match self.fall_asleep() {
            None => self.vigil.found(watch.is_some()),
            Some(wait) => {
                self.select(wait);
                self.vigil.slept(watch.is_some(), domain.has_arrivals(), began, || domain.time());
            }
        }
    }

    /// Watches the mailbox until then, or the first timer, or somebody rings for something else. Whether anything was sent.
    #[cfg(feature = "alloc")]
    fn watch(&self, until: Instant, mut rounds: u64) -> bool {
        let domain = self.domain;
        let until = domain.timers.earliest().map_or(until, |timer| timer.min(until));
        let mut looks = 0;
        domain.mailbox().watch(|| {
            shim::spin();
            looks += 1;
            if looks % LOOKS != 0 {
                return true;
            }
            rounds -= 1;
            rounds > 0 && domain.time() < until && !self.is_disturbed() && !self.is_flagged()
        })
    }

    /// Whether the source has something to tell for all one knows, and was not asked between two watches for as long as one may last: what ends
    /// them may be nothing that a task is polled for.
    #[cfg(feature = "alloc")]
    fn is_source_due(&self, now: Instant) -> bool {
        let domain = self.domain;
        let waits = domain.points.any() && now.saturating_duration_since(self.looked.get()) > domain.run().spin();
        waits || domain.timers.earliest().is_some_and(|timer| timer <= now)
    }

    /// Whether the clock, which is foreign code, has left something to do: then the domain must not sleep.
    #[cfg(feature = "alloc")]
    fn is_disturbed(&self) -> bool {
        self.domain.has_broken_clock() || !self.domain.has_nothing_to_do()
    }

    /// Publishes that the domain sleeps, so that others ring. How long it may; not at all if something has arrived. Nothing is runnable.
    #[must_use]
    pub(crate) fn fall_asleep(&self) -> Option<Wait> {
        match self.domain.mailbox().sleep(|| self.is_flagged()) {
            Slept::Refused => None,
            Slept::Flagged => Some(Wait::No),
            Slept::Published => Some(match self.domain.timers.earliest() {
                Some(Instant::MAX) | None => Wait::Forever,
                Some(deadline) => Wait::Until(deadline),
            }),
        }
    }

    /// Whether there is something to do that others ring for after they have said so.
    fn is_flagged(&self) -> bool {
        let run = self.domain.run();
        let flagged = match self.root {
            Some(_) if !self.begun.get() => run.all_started(),
            Some(_) => run.is_aborting() && !self.is_aborted(),
            None => run.is_stopped(),
        };
        flagged || self.domain.is_asked()
    }

    /// Whether the main task was told that the run aborts.
    fn is_aborted(&self) -> bool {
        // SAFETY: `run` holds the main task; this is its domain.
        self.root.is_some_and(|root| unsafe { root.as_ref() }.state.is_cancelled() || self.domain.root_ended.get())
    }

    /// Asks the event source, then wakes those whose event or time has come.
    pub(crate) fn select(&self, wait: Wait) {
        let Some(source) = self.source else { return rest() };
        self.ask_source(source, wait);
        // Nobody need ring any more.
        self.domain.attend_to_arrivals();
        self.wake_all();
    }

    #[inline]
    fn ask_source(&self, source: &Source<E>, wait: Wait) {
        let domain = self.domain;
        domain.put_off_looking();
        if domain.points.any_given_up() {
            self.ask_and_tell(source, wait);
        } else {
            self.ask(source, wait, &[]);
        }
    }

    /// Wakes those whose event or time has come.
    #[inline]
    fn wake_all(&self) {
        let domain = self.domain;
        domain.runnable.set_resuming(true);
        while let Some(waker) = domain.next_resumed() {
            if let Some(waker) = waker {
                domain.wake_between_polls(waker);
            }
        }
        if !domain.timers.is_empty() {
            self.fire();
        }
        domain.runnable.set_resuming(false);
        self.look_at_clock();
    }

    /// Wakes those whose time has come.
    #[inline(never)]
    fn fire(&self) {
        let domain = self.domain;
        let now = domain.time();
        while let Some(waker) = domain.timers.pop_expired(now) {
            if let Some(waker) = waker {
                domain.wake_between_polls(waker);
            }
        }
    }

    #[inline(always)] // It is a part of two.
    fn ask(&self, source: &Source<E>, wait: Wait, given_up: &[PointId]) {
        debug_assert!(self.domain.current().is_none(), "between polls");
        if let Err(error) = source.select(wait, given_up, &mut Signals::new(&self.domain.points)) {
            self.source_failed(error);
        }
    }

    /// Asks it as often as it takes to tell of all that were given up.
    #[inline(never)]
    fn ask_and_tell(&self, source: &Source<E>, wait: Wait) {
        let points = &self.domain.points;
        let mut given_up = [PointId { index: 0, generation: 0 }; TOLD_AT_ONCE];
        let mut wait = wait;
        loop {
            let told = points.given_up(&mut given_up);
            let more = points.any_given_up();
            if more {
                // What this look finds is not slept over afterwards.
                wait = Wait::No;
            }
            self.ask(source, wait, &given_up[..told]);
            if !more || self.broken.get() {
                break;
            }
        }
    }

    /// The source is not asked again, and the run ends.
    fn source_failed(&self, error: EventsError<E::Error>) {
        self.broken.set(true);
        (self.fail)(self.domain.id, error);
        self.domain.run().abort();
    }
}

/// Waits a moment where no event source can: while a run whose source failed is being ended.
pub(crate) fn rest() {
    #[cfg(feature = "std")]
    std::thread::sleep(std::time::Duration::from_millis(1));
    #[cfg(not(feature = "std"))]
    core::hint::spin_loop();
}
