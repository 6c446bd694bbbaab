//! What the tests of the tree of tasks share.
//!
//! - [`Reach`] says where a child is made: most rules hold for `spawn` and for `call`, and [`each`] runs a test for both, with several seeds.
//! - [`Tally`] counts what is made and what is dropped; [`Journal`] keeps what happened in which order.
//! - [`go`] runs a test on threads; in `tests/simulated.rs`, which has the same tests, it simulates it.
//! - [`Gate`] lets tasks wait for each other, on any domain, and threads too; [`Occupied`] keeps a whole domain busy in one poll.

#![allow(dead_code, unreachable_pub)] // Each test file uses a part of it.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use matou_core::{
    Cancellation, Config, DomainId, Orphans, Outcome, Promise, Report, ReportPlace, RunError, Task, TaskId, Violation, call, run, spawn,
    yield_now,
};

use super::Threads;
pub use super::simulate::SIMULATED;
use super::simulate::{may_block, simulate};

/// Where a child is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On its parent's domain.
    Same,
    /// On another one.
    Across,
}

pub type Value<F> = <<F as Future>::Output as Outcome>::Value;
pub type Error<F> = <<F as Future>::Output as Outcome>::Error;

impl Reach {
    pub const BOTH: [Reach; 2] = [Reach::Same, Reach::Across];

    /// Starts a child; across, on a worker by chance.
    #[track_caller]
    pub fn start<C, F>(self, make: C) -> Promise<Value<F>, Error<F>>
    where
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output: Outcome> + 'static,
        Value<F>: Send + 'static,
        Error<F>: Send + 'static,
    {
        match self {
            Reach::Same => spawn(make()),
            Reach::Across => call(make).unwrap_or_else(|error| panic!("{error}")),
        }
    }

    /// Starts a child; across, on this domain.
    #[track_caller]
    pub fn start_on<C, F>(self, domain: usize, make: C) -> Promise<Value<F>, Error<F>>
    where
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output: Outcome> + 'static,
        Value<F>: Send + 'static,
        Error<F>: Send + 'static,
    {
        match self {
            Reach::Same => spawn(make()),
            Reach::Across => pinned(domain, make),
        }
    }

    /// Starts a child in an `Orphans`; across, on a worker by chance.
    #[track_caller]
    pub fn start_in<C, F>(self, orphans: &Orphans<Value<F>, Error<F>>, make: C) -> TaskId
    where
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output: Outcome> + 'static,
        Value<F>: Send + 'static,
        Error<F>: Send + 'static,
    {
        match self {
            Reach::Same => orphans.spawn(make()),
            Reach::Across => orphans.call(make).unwrap_or_else(|error| panic!("{error}")),
        }
    }
}

/// Starts a child on this domain, another than the current one.
#[track_caller]
pub fn pinned<C, F>(domain: usize, make: C) -> Promise<Value<F>, Error<F>>
where
    C: FnOnce() -> F + Send + 'static,
    F: Future<Output: Outcome> + 'static,
    Value<F>: Send + 'static,
    Error<F>: Send + 'static,
{
    Task::new().pin(DomainId::new(domain)).call(make).unwrap_or_else(|error| panic!("{error}"))
}

/// The seeds that tests run with. On threads the system adds chance of its own.
pub const SEEDS: std::ops::Range<u64> = if SIMULATED { 0..40 } else { 0..6 };

/// Runs a test on the same domain and across, for several seeds; a failure tells for which.
#[track_caller]
pub fn each(test: impl Fn(Reach, u64)) {
    for reach in Reach::BOTH {
        for seed in SEEDS {
            let _told = Told(format!("{reach:?}, seed {seed}"));
            test(reach, seed);
        }
    }
}

/// Tells in which case a test failed.
pub struct Told(pub String);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the case that failed: {}", self.0);
        }
    }
}

pub type Ended<F> = Result<Value<F>, RunError<Error<F>, &'static str>>;

/// A run with this many workers. Its `born` is the caller's line.
#[track_caller]
pub fn go<F: Future<Output: Outcome>>(workers: usize, seed: u64, main: F) -> Ended<F> {
    if SIMULATED {
        return simulate(workers, seed, None, main);
    }
    run(&Threads::new(workers), Config::new().domains(workers).seed(seed), main)
}

/// As [`go`]; what cannot be returned to anybody is told to `on_report`.
#[track_caller]
pub fn go_reporting<F: Future<Output: Outcome>>(workers: usize, seed: u64, on_report: fn(&Report), main: F) -> Ended<F> {
    if SIMULATED {
        return simulate(workers, seed, Some(on_report), main);
    }
    run(&Threads::new(workers), Config::new().domains(workers).seed(seed).on_report(on_report), main)
}

/// The violation that ended the run.
#[track_caller]
pub fn violation<T: std::fmt::Debug, E: std::fmt::Debug>(ended: Result<T, RunError<E, &'static str>>) -> Violation {
    match ended {
        Err(RunError::Violation(violation)) => violation,
        other => panic!("a violation was expected, not {other:?}"),
    }
}

/// Reports, as one test keeps them: what panicked, on which domain, and what it said.
pub struct Reports(Mutex<Vec<(ReportPlace, usize, String)>>);

impl Reports {
    pub const fn new() -> Reports {
        Reports(Mutex::new(Vec::new()))
    }

    pub fn keep(&self, report: &Report) {
        self.0.lock().unwrap().push((report.place, report.domain.index(), report.panic.message()));
    }

    /// Those kept since the last time.
    pub fn take(&self) -> Vec<(ReportPlace, usize, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Lets the other tasks run until the condition holds. Panics if it takes absurdly long.
pub async fn until(condition: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "what was waited for did not happen");
        yield_now().await;
    }
}

/// After this time a test has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Counts tokens.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<[AtomicUsize; 2]>);

/// What a [`Tally`] counts.
#[derive(Debug)]
pub struct Token(Tally);

impl Tally {
    pub fn new() -> Tally {
        Tally::default()
    }

    pub fn token(&self) -> Token {
        self.0[0].fetch_add(1, Ordering::SeqCst);
        Token(self.clone())
    }

    pub fn made(&self) -> usize {
        self.0[0].load(Ordering::SeqCst)
    }

    pub fn dropped(&self) -> usize {
        self.0[1].load(Ordering::SeqCst)
    }

    /// How many were made and are all dropped. Panics if some are left.
    #[track_caller]
    pub fn all_dropped(&self) -> usize {
        assert_eq!(self.made(), self.dropped(), "what is made is dropped once");
        self.made()
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.0[1].fetch_add(1, Ordering::SeqCst);
    }
}

/// What happened, in order, whatever the domain.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub fn new() -> Journal {
        Journal::default()
    }

    pub fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub fn read(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Writes the line when it is dropped.
    pub fn at_drop(&self, line: &str) -> AtDrop<impl FnOnce() + use<>> {
        let (journal, line) = (self.clone(), line.to_owned());
        at_drop(move || journal.write(line))
    }

    pub fn has(&self, line: &str) -> bool {
        self.0.lock().unwrap().iter().any(|written| written == line)
    }
}

/// Calls the function when it is dropped.
pub struct AtDrop<F: FnOnce()>(Cell<Option<F>>);

pub fn at_drop<F: FnOnce()>(f: F) -> AtDrop<F> {
    AtDrop(Cell::new(Some(f)))
}

impl<F: FnOnce()> Drop for AtDrop<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

/// Shut at first; once open it stays so. Tasks of any domain and threads wait for it.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    open: bool,
    wakers: Vec<Waker>,
}

impl Gate {
    pub fn new() -> Gate {
        Gate::default()
    }

    pub fn open(&self) {
        let mut state = self.0.0.lock().unwrap();
        state.open = true;
        self.0.1.notify_all();
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        for waker in wakers {
            waker.wake();
        }
    }

    pub fn is_open(&self) -> bool {
        self.0.0.lock().unwrap().open
    }

    /// Waits as a task does.
    pub fn passed(&self) -> Passed {
        Passed(self.clone())
    }

    /// Wakes who waits, though it stays shut.
    pub fn knock(&self) {
        let wakers = std::mem::take(&mut self.0.0.lock().unwrap().wakers);
        for waker in wakers {
            waker.wake();
        }
    }

    /// Whether somebody waits as a task does.
    pub fn is_waited_for(&self) -> bool {
        !self.0.0.lock().unwrap().wakers.is_empty()
    }

    /// Waits with the whole thread.
    pub fn block(&self) {
        may_block();
        let state = self.0.0.lock().unwrap();
        let (_state, waited) = self.0.1.wait_timeout_while(state, PATIENCE, |state| !state.open).unwrap();
        assert!(!waited.timed_out(), "a gate was never opened");
    }
}

/// The future of [`Gate::passed`].
pub struct Passed(Gate);

impl Future for Passed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.0.0.lock().unwrap();
        if state.open {
            return Poll::Ready(());
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Chance, for tests that try many things (the constants are Knuth's, of MMIX).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed ^ 0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    pub fn split(&mut self) -> Dice {
        Dice::new(self.below(1 << 31) << 31 | self.below(1 << 31))
    }
}

/// Passes nobody, and never wakes: a parked task.
pub async fn parked() {
    std::future::pending().await
}

/// A domain that is in the middle of a poll until it is told to go on: nothing else happens on it.
pub struct Occupied {
    release: Gate,
    /// The child that occupies it is cancelled while it does: nobody need await it.
    ending: Cancellation,
}

impl Occupied {
    /// Occupies a domain, another than the current one, as soon as it gets there. Returns when it is so.
    pub async fn new(domain: usize) -> Occupied {
        let (arrived, release) = (Gate::new(), Gate::new());
        let promise = pinned(domain, {
            let (arrived, release) = (arrived.clone(), release.clone());
            move || async move {
                arrived.open();
                release.block();
            }
        });
        arrived.passed().await;
        Occupied { release, ending: promise.cancel() }
    }

    /// What releases the domain.
    pub fn gate(&self) -> Gate {
        self.release.clone()
    }

    /// Lets the domain go on.
    pub async fn release(mut self) {
        self.release.open();
        (&mut self.ending).await;
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        // A test that fails must end.
        self.release.open();
    }
}
