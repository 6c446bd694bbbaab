//! A platform that watches and that fails on demand: [`Threads`] with a record of each domain's `select` calls, a count of the threads
//! that came and went, and faults to order.

#![allow(dead_code, unreachable_pub)] // Each test file uses a part of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use matou_core::platform::{Events, Interrupt, Platform, Signals, Wait};
use matou_core::time::Instant;
use matou_core::{DomainId, PointId};

use super::probe::{Flag, Trace};
use super::{Bell, ByHand, Threads};

/// What a domain did, for tests that count polls between looks. Tasks note their own steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A `select` that may not wait.
    Look,
    /// A `select` that may wait.
    Sleep,
    /// What a task said.
    Task(&'static str, usize),
}

/// What is to go wrong on one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `events` gives an error.
    MakeFails,
    /// `events` panics.
    MakePanics,
    /// `interrupter` panics.
    InterrupterPanics,
    /// The `select` of this number (from 0) gives an error, and all after it.
    SelectFails(usize),
    /// The `select` of this number (from 0) panics, and all after it.
    SelectPanics(usize),
    /// The first `select` that may wait, after the flag of the platform was raised, gives an error.
    FailsWhenFlagged,
    /// The same, and panics.
    PanicsWhenFlagged,
    /// The source's destructor panics.
    DropPanics,
}

/// The platform.
pub struct Watched {
    pub threads: Threads,
    /// One a domain.
    pub steps: Vec<Trace<Step>>,
    /// For what waits for it.
    pub flag: Flag,
    /// The source of this domain is made only when the flag is raised.
    pub slow: Option<usize>,
    /// A `select` of this domain that waits, and begins when `holds` is raised, returns only when `flag` is raised, too.
    pub held: Option<usize>,
    pub holds: Flag,
    /// Makes `domains` fail, before anything ran.
    pub starts: bool,
    faults: Vec<(usize, Fault)>,
    /// Whether each domain is in a `select` that may wait.
    asleep: Mutex<Vec<bool>>,
    fell_asleep: Condvar,
    began: AtomicUsize,
    ended: AtomicUsize,
    made: AtomicUsize,
    dropped: AtomicUsize,
    /// How often a source that had failed was asked whether it is interrupted.
    asked_in_vain: AtomicUsize,
}

impl Watched {
    pub fn new(workers: usize) -> Self {
        Watched {
            threads: Threads::new(workers),
            steps: (0..=workers).map(|_| Trace::new()).collect(),
            flag: Flag::new(),
            slow: None,
            held: None,
            holds: Flag::new(),
            starts: true,
            faults: Vec::new(),
            asleep: Mutex::new(vec![false; workers + 1]),
            fell_asleep: Condvar::new(),
            began: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            made: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            asked_in_vain: AtomicUsize::new(0),
        }
    }

    /// With a clock that goes on only while a domain sleeps.
    pub fn with_time_of_sleeps(mut self) -> Self {
        self.threads = self.threads.with_time_of_sleeps();
        self
    }

    /// With this fault on this domain.
    pub fn fault(mut self, domain: usize, fault: Fault) -> Self {
        self.faults.push((domain, fault));
        self
    }

    /// Blocks until the domain is in a `select` that may wait.
    pub fn wait_asleep(&self, domain: usize) {
        let mut asleep = self.asleep.lock().unwrap();
        while !asleep[domain] {
            asleep = self.fell_asleep.wait(asleep).unwrap();
        }
    }

    fn set_asleep(&self, domain: usize, to: bool) {
        self.asleep.lock().unwrap()[domain] = to;
        self.fell_asleep.notify_all();
    }

    /// How often an event source was asked for anything after it had failed.
    pub fn asked_after_its_failure(&self) -> usize {
        self.asked_in_vain.load(Ordering::SeqCst)
    }

    /// How often the domain asked its event source.
    pub fn selects(&self, domain: usize) -> usize {
        self.steps[domain].count(|step| !matches!(step, Step::Task(..)))
    }

    /// Each worker's thread that began has ended, `workers` in number, and each event source made is gone.
    #[track_caller]
    pub fn assert_joined(&self, workers: usize) {
        let counts = [&self.began, &self.ended].map(|count| count.load(Ordering::SeqCst));
        assert_eq!(counts, [workers; 2], "workers that began and ended");
        assert_eq!(self.made.load(Ordering::SeqCst), self.dropped.load(Ordering::SeqCst), "event sources made and dropped");
    }
}

/// The event source of one domain.
pub struct WatchedEvents<'a> {
    inner: ByHand,
    domain: usize,
    selects: usize,
    failed: bool,
    platform: &'a Watched,
}

impl Events for WatchedEvents<'_> {
    type Interrupt = Bell;
    type Error = &'static str;

    fn interrupter(&self) -> Bell {
        for &(domain, fault) in &self.platform.faults {
            assert!(domain != self.domain || fault != Fault::InterrupterPanics, "no interrupter");
        }
        self.inner.interrupter()
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn select(&mut self, wait: Wait, cancelled: &[PointId], signals: &mut Signals<'_>) -> Result<(), &'static str> {
        self.platform.asked_in_vain.fetch_add(usize::from(self.failed), Ordering::SeqCst);
        self.failed = true; // Unless it is seen below that it has not.
        let step = if wait == Wait::No { Step::Look } else { Step::Sleep };
        self.platform.steps[self.domain].note(step);
        let number = self.selects;
        self.selects += 1;
        for &(domain, fault) in &self.platform.faults {
            if domain != self.domain {
                continue;
            }
            let flagged = self.platform.flag.is_raised() && wait != Wait::No;
            match fault {
                Fault::SelectFails(from) if number >= from => return Err("select failed"),
                Fault::SelectPanics(from) if number >= from => panic!("select panicked"),
                Fault::FailsWhenFlagged if flagged => return Err("select failed"),
                Fault::PanicsWhenFlagged if flagged => panic!("select panicked"),
                _ => {}
            }
        }
        self.failed = false;
        if wait == Wait::No {
            return self.inner.select(wait, cancelled, signals);
        }
        let held = self.platform.held == Some(self.domain) && self.platform.holds.is_raised();
        self.platform.set_asleep(self.domain, true);
        let result = self.inner.select(wait, cancelled, signals);
        if held {
            self.platform.flag.block();
        }
        self.platform.set_asleep(self.domain, false);
        result
    }

    fn is_interrupted(&self) -> bool {
        self.platform.asked_in_vain.fetch_add(usize::from(self.failed), Ordering::SeqCst);
        self.inner.is_interrupted()
    }
}

impl Drop for WatchedEvents<'_> {
    fn drop(&mut self) {
        self.platform.dropped.fetch_add(1, Ordering::SeqCst);
        for &(domain, fault) in &self.platform.faults {
            assert!(domain != self.domain || fault != Fault::DropPanics, "the source would not go");
        }
    }
}

/// A platform borrowed, as `run` takes it: event sources borrow it for the time of the run.
pub struct Borrowed<'a>(pub &'a Watched);

impl<'a> Platform for Borrowed<'a> {
    type Error = &'static str;
    type Events = WatchedEvents<'a>;

    fn events(&self, domain: DomainId) -> Result<WatchedEvents<'a>, &'static str> {
        let number = domain.index();
        for &(faulty, fault) in &self.0.faults {
            if faulty == number {
                match fault {
                    Fault::MakeFails => return Err("no source"),
                    Fault::MakePanics => panic!("no source"),
                    _ => {}
                }
            }
        }
        if self.0.slow == Some(number) {
            self.0.flag.block();
        }
        self.0.made.fetch_add(1, Ordering::SeqCst);
        Ok(WatchedEvents { inner: self.0.threads.events(domain)?, domain: number, selects: 0, failed: false, platform: self.0 })
    }

    fn domains(&self, workers: usize, worker: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), &'static str> {
        if !self.0.starts {
            return Err("no threads");
        }
        let watched = |domain| {
            self.0.began.fetch_add(1, Ordering::SeqCst);
            worker(domain);
            self.0.ended.fetch_add(1, Ordering::SeqCst);
        };
        self.0.threads.domains(workers, &watched, main)
    }
}

/// Rings a domain's bell without a node behind it, as a platform's own sources may.
pub fn ring(threads: &Threads, domain: usize) {
    Bell(threads.hand(domain)).interrupt();
}
