//! What a test leaves in its tasks to see what became of them.
//!
//! - [`Trace`]: what happened, in order, from any domain.
//! - [`Census`]: how many of its guards were made and dropped, and whether each was dropped on the domain it was made on.
//! - [`Flag`]: raised once, from any thread; tasks await it, polls in progress block on it.
//! - [`counted`]: how often a future is polled.
//! - [`Place`], [`trial`], [`attempt`]: the same test for a child on this domain and across, from domain 0 and from a worker.
//!
//! Nothing here depends on what is under test beyond tasks, calls and wakers.

#![allow(dead_code, unreachable_pub)] // Each test file uses a part of it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Debug;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Poll, Wake, Waker};

use matou_core::platform::Platform;
use matou_core::{Config, DomainId, Exit, Outcome, PromiseOf, Report, ReportPlace, Resource, RunError, Task, call, domain, run, spawn};

use super::simulate::{SIMULATED, may_block, rounds, seed_of_round, simulate};

/// A lock that a panicking test has not spoiled for the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What happened, in order.
#[derive(Debug)]
pub struct Trace<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Trace<T> {
    fn clone(&self) -> Self {
        Trace(self.0.clone())
    }
}

impl<T> Default for Trace<T> {
    fn default() -> Self {
        Trace::new()
    }
}

impl<T> Trace<T> {
    pub fn new() -> Self {
        Trace(Arc::default())
    }

    pub fn note(&self, what: T) {
        lock(&self.0).push(what);
    }

    /// All so far, which is forgotten.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *lock(&self.0))
    }

    pub fn len(&self) -> usize {
        lock(&self.0).len()
    }

    pub fn count(&self, what: impl Fn(&T) -> bool) -> usize {
        lock(&self.0).iter().filter(|noted| what(noted)).count()
    }
}

/// Counts guards, and finalisers that ran.
#[derive(Debug, Clone, Default)]
pub struct Census(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    made: AtomicUsize,
    gone: AtomicUsize,
    strayed: AtomicUsize,
    finalised: AtomicUsize,
}

impl Census {
    pub fn new() -> Self {
        Census::default()
    }

    /// A guard that may be dropped anywhere.
    pub fn guard(&self) -> Guard {
        self.0.made.fetch_add(1, Ordering::SeqCst);
        Guard { counts: self.0.clone(), home: None }
    }

    /// A guard that is to be dropped on the domain it was made on.
    pub fn guard_here(&self) -> Guard {
        let mut guard = self.guard();
        guard.home = domain::current();
        guard
    }

    /// A resource of the current task's that is to be finalised, not merely dropped, on the domain it was made on.
    pub fn resource_here(&self) -> Resource<()> {
        let resource = self.resource_of(self.guard_here());
        resource.own().unwrap();
        resource
    }

    /// A resource that may be finalised anywhere, and that nobody owns yet.
    pub fn resource(&self) -> Resource<()> {
        self.resource_of(self.guard())
    }

    fn resource_of(&self, guard: Guard) -> Resource<()> {
        let counts = self.0.clone();
        Resource::new((), move |()| {
            counts.finalised.fetch_add(1, Ordering::SeqCst);
            drop(guard);
        })
    }

    /// How many finalisers ran.
    pub fn finalised(&self) -> usize {
        self.0.finalised.load(Ordering::SeqCst)
    }

    pub fn made(&self) -> usize {
        self.0.made.load(Ordering::SeqCst)
    }

    pub fn gone(&self) -> usize {
        self.0.gone.load(Ordering::SeqCst)
    }

    /// Exactly `made` guards were made, each was dropped once, and none away from its home.
    #[track_caller]
    pub fn assert_all_gone(&self, made: usize) {
        let strayed = self.0.strayed.load(Ordering::SeqCst);
        assert_eq!((self.made(), self.gone(), strayed), (made, made, 0), "made, gone, strayed");
    }
}

/// See [`Census`].
#[derive(Debug)]
pub struct Guard {
    counts: Arc<Counts>,
    home: Option<DomainId>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.counts.gone.fetch_add(1, Ordering::SeqCst);
        if self.home.is_some() && self.home != domain::current() {
            self.counts.strayed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Calls a function when it is dropped.
pub struct OnDrop<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Raised once, from any thread.
#[derive(Debug, Clone, Default)]
pub struct Flag(Arc<(Mutex<(bool, Vec<Waker>)>, Condvar)>);

impl Flag {
    pub fn new() -> Self {
        Flag::default()
    }

    pub fn raise(&self) {
        let woken = {
            let mut state = lock(&self.0.0);
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        self.0.1.notify_all();
        woken.into_iter().for_each(Waker::wake);
    }

    pub fn is_raised(&self) -> bool {
        lock(&self.0.0).0
    }

    /// Blocks the thread: for a poll that is to be in progress meanwhile, and for threads that run no domain.
    pub fn block(&self) {
        may_block();
        let mut state = lock(&self.0.0);
        while !state.0 {
            state = self.0.1.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Waits as a task does. It takes no effect of the runtime's.
    pub fn raised(&self) -> impl Future<Output = ()> + 'static {
        let flag = self.clone();
        poll_fn(move |cx| {
            let mut state = lock(&flag.0.0);
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        })
    }
}

/// How often something happened.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicUsize>);

impl Counter {
    pub fn new() -> Self {
        Counter::default()
    }

    /// One more. How many there were before.
    pub fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Counts the polls of a future.
pub fn counted<F: Future>(polls: &Counter, future: F) -> impl Future<Output = F::Output> + use<F> {
    let polls = polls.clone();
    async move {
        let mut future = pin!(future);
        poll_fn(move |cx| {
            polls.add();
            future.as_mut().poll(cx)
        })
        .await
    }
}

/// Polls a future once, in a poll of the current task. It is not polled again by whoever it wakes.
pub async fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Polls both in each poll, the left one first; what has not ended when the other has is dropped.
pub async fn race<A: Future, B: Future>(left: A, right: B) -> Result<A::Output, B::Output> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|cx| {
        if let Poll::Ready(output) = left.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        right.as_mut().poll(cx).map(Err)
    })
    .await
}

/// Polls both in each poll until both have ended.
pub async fn both<A: Future, B: Future>(left: A, right: B) -> (A::Output, B::Output) {
    let (mut left, mut right) = (pin!(left), pin!(right));
    let (mut a, mut b) = (None, None);
    poll_fn(|cx| {
        if a.is_none()
            && let Poll::Ready(output) = left.as_mut().poll(cx)
        {
            a = Some(output);
        }
        if b.is_none()
            && let Poll::Ready(output) = right.as_mut().poll(cx)
        {
            b = Some(output);
        }
        match (a.take(), b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            halves => {
                (a, b) = halves;
                Poll::Pending
            }
        }
    })
    .await
}

/// What `f` panics with, in words.
pub fn panic_message(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().unwrap()).into(),
    }
}

/// A waker that counts its wakes.
pub fn counting_waker(wakes: &Counter) -> Waker {
    struct Counting(Counter);
    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.add();
        }
    }
    Waker::from(Arc::new(Counting(wakes.clone())))
}

/// Where a child is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On its parent's domain, by `spawn`.
    Here,
    /// On another, by `call`.
    Across,
}

/// Both.
pub const PLACES: [Place; 2] = [Place::Here, Place::Across];

/// The value of a future's normal end.
pub type Value<F> = <<F as Future>::Output as Outcome>::Value;
/// The error of a future's abnormal end.
pub type Error<F> = <<F as Future>::Output as Outcome>::Error;

impl Place {
    /// Starts a child there.
    #[track_caller]
    pub fn start<C, F>(self, make: C) -> PromiseOf<F>
    where
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output: Outcome> + 'static,
        Value<F>: Send + 'static,
        Error<F>: Send + 'static,
    {
        match self {
            Place::Here => spawn(make()),
            Place::Across => call(make).unwrap(),
        }
    }

    /// As [`start`](Self::start), with what `task` says.
    #[track_caller]
    pub fn start_as<C, F>(self, task: Task, make: C) -> PromiseOf<F>
    where
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output: Outcome> + 'static,
        Value<F>: Send + 'static,
        Error<F>: Send + 'static,
    {
        match self {
            Place::Here => task.spawn(make()).unwrap(),
            Place::Across => task.call(make).unwrap(),
        }
    }
}

/// Runs `body` on domain `at`, as the main task or as its only child, and panics where it does.
pub fn attempt<P, C, F>(platform: &P, config: Config, at: usize, body: C) -> Result<Value<F>, RunError<Infallible, P::Error>>
where
    P: Platform,
    C: FnOnce() -> F + Send + 'static,
    F: Future<Output: Outcome<Error = Infallible>> + 'static,
    Value<F>: Send + 'static,
{
    panicking_on(run(platform, config, at_domain(at, body)))
}

async fn at_domain<C, F>(at: usize, body: C) -> Result<Value<F>, Infallible>
where
    C: FnOnce() -> F + Send + 'static,
    F: Future<Output: Outcome<Error = Infallible>> + 'static,
    Value<F>: Send + 'static,
{
    if at == 0 {
        return body().await.into_result();
    }
    match Task::new().pin(DomainId::new(at)).call(body).unwrap().await {
        Ok(value) => Ok(value),
        Err(Exit::Panicked(panic)) => resume_unwind(panic.into_payload()),
        Err(Exit::Cancelled) => panic!("the task of the test was cancelled"),
    }
}

fn panicking_on<T, E, X>(ended: Result<T, RunError<E, X>>) -> Result<T, RunError<E, X>> {
    match ended {
        Err(RunError::Panicked(panic)) => resume_unwind(panic.into_payload()),
        ended => ended,
    }
}

/// As [`attempt`], for what is to end normally, on the plain platform.
#[track_caller]
pub fn trial<C, F>(workers: usize, seed: u64, at: usize, body: C) -> Value<F>
where
    C: FnOnce() -> F + Send + 'static,
    F: Future<Output: Outcome<Error = Infallible>> + 'static,
    Value<F>: Send + Debug + 'static,
{
    let main = at_domain(at, body);
    let ended = if SIMULATED {
        simulate(workers, seed_of_round(seed), None, main)
    } else {
        run(&super::Threads::new(workers), Config::new().domains(workers).seed(seed), main)
    };
    panicking_on(ended).unwrap()
}

/// What each combination of a parent's domain and a child's place does, with enough workers for both.
pub fn sites() -> impl Iterator<Item = (usize, Place)> {
    rounds().flat_map(|_| [0, 1]).flat_map(|at| PLACES.map(|place| (at, place)))
}

/// Reports go to the test that asks for them: each names itself in what it panics with.
static REPORTS: Mutex<Vec<(String, ReportPlace, DomainId)>> = Mutex::new(Vec::new());

/// For `Config::on_report`.
pub fn record_report(report: &Report) {
    lock(&REPORTS).push((report.panic.message(), report.place, report.domain));
}

/// Takes the reports of panics with exactly this message.
pub fn take_reports(message: &str) -> Vec<(ReportPlace, DomainId)> {
    let mut reports = lock(&REPORTS);
    let (mine, others) = std::mem::take(&mut *reports).into_iter().partition(|(text, ..)| text == message);
    *reports = others;
    let mine: Vec<(String, ReportPlace, DomainId)> = mine;
    mine.into_iter().map(|(_, place, domain)| (place, domain)).collect()
}

/// A place on one thread for something that several tasks of a domain hand round.
pub fn shared<T>(value: T) -> std::rc::Rc<RefCell<T>> {
    std::rc::Rc::new(RefCell::new(value))
}
