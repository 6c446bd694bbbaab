//! What safe code could break the runtime with, beside what it calls: the platform it brings, and the threads it moves things to.
//!
//! `Platform` is a safe trait, so that one that breaks its contract may make a run fail, but not two threads run one domain: a mailbox has
//! one reader, and what is not `Send` stays where it was made. Each call that would be a second domain, or a domain on a thread that runs
//! one already, is answered by a panic before anything was made. The platforms here keep that panic to themselves, and go on: the run ends
//! all the same, in order, and panics in its turn.
//!
//! Which types may go to another thread, or be used from two, is fixed here for every public one. It is asked at compile time: a type that
//! gains or loses an auto trait does not build this file. That an `Orphans` is invariant is a case of `ui.rs`.

#![cfg(feature = "std")]

mod support;

use std::cell::Cell;
use std::marker::PhantomPinned;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use matou_core::effect::*;
use matou_core::hook::Hook;
use matou_core::platform::*;
use matou_core::suspension::*;
use matou_core::sync::{Mutex, *};
use matou_core::time::*;
use matou_core::*;
use support::family::*;
use support::probe::{Census, Counter};
use support::wakers::panic_of;
use support::{ByHand, Threads};

// ---- Platforms that break their contract

/// As [`Threads`], but for one wrong call, whose panic it keeps to itself.
struct Misfit {
    threads: Threads,
    wrong: Wrong,
    /// Opened by the main task: all domains have their threads, and tasks run there.
    under_way: Gate,
    /// What the wrong call panicked with.
    said: std::sync::Mutex<Vec<String>>,
    /// The domains that asked for their event source.
    sources: std::sync::Mutex<Vec<usize>>,
}

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    /// `worker(1)` again, on a thread of its own, while the first runs.
    WorkerTwice,
    /// The same, by two threads at once: one of them becomes the worker.
    WorkerTwiceAtOnce,
    /// The same where there should have been `worker(2)`, which is never called.
    WorkerInsteadOfAnother,
    /// `worker(0)`, while `main` runs.
    WorkerZero,
    /// `worker(0)`, before `main` is called.
    WorkerZeroFirst,
    /// A worker that the run does not have, while it runs.
    WorkerUnknown,
    /// `worker` on a thread that is in the middle of another run, before it is called as it should be.
    WorkerNested,
    /// `main` on such a thread, before it is called as it should be.
    MainNested,
    /// `main` again, after the first has returned.
    MainTwice,
}

impl Wrong {
    /// Whether the main task was polled: not where the call came before all domains had started.
    fn begins(self) -> Option<bool> {
        match self {
            Wrong::WorkerTwice | Wrong::WorkerZero | Wrong::WorkerUnknown | Wrong::MainTwice => Some(true),
            Wrong::WorkerInsteadOfAnother | Wrong::WorkerZeroFirst | Wrong::WorkerNested | Wrong::MainNested => Some(false),
            // Domain 0 may see the worker that has started before the refusal of the other.
            Wrong::WorkerTwiceAtOnce => None,
        }
    }

    fn workers(self) -> usize {
        if self == Wrong::WorkerInsteadOfAnother { 2 } else { 1 }
    }
}

impl Misfit {
    fn new(wrong: Wrong) -> Misfit {
        let threads = Threads::new(wrong.workers());
        Misfit { threads, wrong, under_way: Gate::new(), said: std::sync::Mutex::default(), sources: std::sync::Mutex::default() }
    }

    /// Makes the wrong call, which panics.
    fn wrongly(&self, call: impl FnOnce()) {
        self.said.lock().unwrap().push(panic_of(call));
    }

    /// Makes it in the middle of another run.
    fn nested(&self, call: impl FnOnce()) {
        run(&Bare, Config::new(), async { self.wrongly(call) }).unwrap();
    }

    /// Makes a call of which nobody knows yet whether it is wrong.
    fn perhaps_wrongly(&self, call: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
            self.wrongly(|| resume_unwind(panic));
        }
    }
}

impl Platform for Misfit {
    type Error = &'static str;
    type Events = ByHand;

    fn events(&self, domain: DomainId) -> Result<ByHand, &'static str> {
        self.sources.lock().unwrap().push(domain.index());
        self.threads.events(domain)
    }

    fn domains(&self, _: usize, worker: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), &'static str> {
        let one = DomainId::new(1);
        let late = |id| {
            self.under_way.block();
            self.wrongly(|| worker(id));
        };
        let late = &late;
        match self.wrong {
            Wrong::WorkerNested => self.nested(|| worker(one)),
            Wrong::MainNested => self.nested(&mut *main),
            Wrong::WorkerZeroFirst => self.wrongly(|| worker(DomainId::ZERO)),
            _ => {}
        }
        std::thread::scope(|scope| {
            scope.spawn(|| self.perhaps_wrongly(|| worker(one)));
            match self.wrong {
                Wrong::WorkerTwiceAtOnce | Wrong::WorkerInsteadOfAnother => drop(scope.spawn(|| self.perhaps_wrongly(|| worker(one)))),
                Wrong::WorkerTwice => drop(scope.spawn(move || late(one))),
                Wrong::WorkerZero => drop(scope.spawn(move || late(DomainId::ZERO))),
                Wrong::WorkerUnknown => drop(scope.spawn(move || late(DomainId::new(2)))),
                _ => {}
            }
            main();
            if self.wrong == Wrong::MainTwice {
                self.wrongly(main);
            }
        });
        Ok(())
    }
}

/// What the platform hears, and `run` says when it has heard nothing of it.
const REFUSED: &str = "the platform called for a domain that it may not";

/// The wrong call is answered with this panic. The run ends in order, each domain on one thread, and says that it was no run.
fn is_refused(wrong: Wrong, call: &str) {
    for seed in SEEDS {
        let _told = Told(format!("{wrong:?}, seed {seed}"));
        let platform = Misfit::new(wrong);
        let (began, futures, moved) = (Cell::new(false), Census::new(), Counter::new());
        let main = async {
            began.set(true);
            let _guard = futures.guard_here();
            let reached = Counter::new();
            // Futures that are not `Send`, each polled again and again.
            let children: Vec<_> = (0..4)
                .map(|_| {
                    let (futures, moved, reached) = (futures.clone(), moved.clone(), reached.clone());
                    pinned(1, move || async move {
                        let _guard = futures.guard_here();
                        let here = Rc::new(std::thread::current().id());
                        for n in 0.. {
                            if n == 8 {
                                reached.add();
                            }
                            yield_now().await;
                            if *here != std::thread::current().id() {
                                moved.add();
                            }
                        }
                    })
                })
                .collect();
            until(|| reached.get() == 4).await;
            platform.under_way.open();
            if wrong != Wrong::MainTwice {
                parked().await;
            }
            for child in children {
                child.cancel().await;
            }
        };
        let config = Config::new().domains(wrong.workers()).seed(seed);
        let message = panic_of(|| drop(run(&platform, config, main)));
        assert_eq!(message, format!("{REFUSED}, and kept the panic to itself"));
        assert_eq!(*platform.said.lock().unwrap(), [format!("{REFUSED}: {call}")]);
        if let Some(begins) = wrong.begins() {
            assert_eq!(began.get(), begins);
        }
        // Each was dropped on the domain that it was made on.
        futures.assert_all_gone(futures.made());
        assert!(wrong.begins() != Some(true) || futures.made() == 5);
        assert_eq!(moved.get(), 0);
        let mut sources = platform.sources.into_inner().unwrap();
        sources.sort_unstable();
        assert_eq!(sources, [0, 1], "no other domain was made");
        // The thread runs no domain: it is free for the next run.
        assert_eq!(run(&Bare, Config::new(), async { 7 }).unwrap(), 7);
    }
}

const WORKER_1: &str = "`worker(1)`, which is no worker, was called before, or has no thread of its own";
const MAIN: &str = "`main`, twice or on a thread that runs a domain";

#[test]
fn a_worker_that_is_called_again_while_it_runs_is_refused() {
    is_refused(Wrong::WorkerTwice, WORKER_1);
}

#[test]
fn of_two_threads_that_call_one_worker_at_once_one_is_refused() {
    is_refused(Wrong::WorkerTwiceAtOnce, WORKER_1);
}

#[test]
fn a_worker_called_twice_in_the_place_of_another_is_refused_and_nobody_waits_for_that() {
    is_refused(Wrong::WorkerInsteadOfAnother, WORKER_1);
}

#[test]
fn a_worker_with_the_number_of_domain_zero_is_refused() {
    for wrong in [Wrong::WorkerZero, Wrong::WorkerZeroFirst] {
        is_refused(wrong, "`worker(0)`, which is no worker, was called before, or has no thread of its own");
    }
}

#[test]
fn a_worker_that_the_run_does_not_have_is_refused() {
    is_refused(Wrong::WorkerUnknown, "`worker(2)`, which is no worker, was called before, or has no thread of its own");
}

#[test]
fn a_worker_in_the_middle_of_another_run_is_refused() {
    is_refused(Wrong::WorkerNested, WORKER_1);
}

#[test]
fn a_main_in_the_middle_of_another_run_is_refused() {
    is_refused(Wrong::MainNested, MAIN);
}

#[test]
fn a_main_that_is_called_again_is_refused() {
    is_refused(Wrong::MainTwice, MAIN);
}

/// A platform whose only call of `main` is in the middle of another run, or that makes none.
struct Without {
    nested: bool,
}

impl Platform for Without {
    type Error = NothingToWaitFor;
    type Events = NoEvents;

    fn events(&self, domain: DomainId) -> Result<NoEvents, NothingToWaitFor> {
        Bare.events(domain)
    }

    fn domains(&self, _: usize, _: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), NothingToWaitFor> {
        if self.nested {
            let inner = run(&Bare, Config::new(), async { main() });
            assert!(matches!(inner, Err(RunError::Panicked(_))));
        }
        Ok(())
    }
}

#[test]
fn a_run_whose_main_was_refused_or_never_called_panics_and_polls_nothing() {
    for nested in [false, true] {
        let dropped = Tally::new();
        let polled = Cell::new(false);
        let token = dropped.token();
        let main = async {
            let _token = &token;
            polled.set(true);
        };
        let message = panic_of(|| drop(run(&Without { nested }, Config::new(), main)));
        let refused = format!("{REFUSED}, and kept the panic to itself");
        assert_eq!(message, if nested { &refused } else { "the platform returned without having called `main`" });
        assert!(!polled.get());
        drop(token);
        assert_eq!(dropped.all_dropped(), 1);
        // The thread runs no domain: it is free for the next run.
        assert_eq!(run(&Bare, Config::new(), async { 7 }).unwrap(), 7);
    }
}

// ---- Auto traits

/// Whether a type has a trait, decided where an inherent constant hides the one of a trait.
macro_rules! has {
    ($type:ty: $bound:path) => {{
        #[allow(dead_code)]
        trait Otherwise {
            const HAS: bool = false;
        }
        impl<T: ?Sized> Otherwise for T {}
        struct Asked<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code)]
        impl<T: ?Sized + $bound> Asked<T> {
            const HAS: bool = true;
        }
        <Asked<$type>>::HAS
    }};
}

/// Each type with what it is: `Send`, `Sync`, `Unpin`, in this order, `-` for what it is not.
macro_rules! fixed {
    ($($type:ty: $send:tt $sync:tt $unpin:tt;)+) => {$(
        const _: () = {
            assert!(has!($type: Send) == fixed!(@ $send), concat!("`Send` of ", stringify!($type)));
            assert!(has!($type: Sync) == fixed!(@ $sync), concat!("`Sync` of ", stringify!($type)));
            assert!(has!($type: Unpin) == fixed!(@ $unpin), concat!("`Unpin` of ", stringify!($type)));
        };
    )+};
    (@ -) => { false };
    (@ $is:ident) => { true };
}

type Unit = std::future::Ready<()>;
type Stays = Rc<u8>;
type Register = fn(PointId) -> Result<(), ()>;

// A value that may be anywhere, one that may be in one place at a time, one that stays. Whatever they are, what leads to tasks stays.
fixed! {
    // Tasks: what leads to them belongs to their parent's domain.
    Promise<u8>: - - Unpin;
    Promise<u8, PhantomPinned>: - - Unpin;
    Cancellation: - - Unpin;
    Orphans<u8>: - - Unpin;
    Orphans<u8, PhantomPinned>: - - Unpin;
    Care<u8>: - - Unpin;
    Next<'static, u8, u8>: - - Unpin;
    Scope<Unit>: - - -;
    AwaitAll<u8, u8>: - - Unpin;
    AwaitFirst<u8, u8>: - - Unpin;
    AwaitOne<'static, u8, u8>: - - Unpin;
    AwaitAllIn<'static, u8, u8>: - - Unpin;
    AwaitFirstIn<'static, u8, u8>: - - Unpin;
    AwaitOneIn<'static, u8, u8>: - - Unpin;
    Parallel<u8, u8>: - - Unpin;
    // Starts: they hold what they are given.
    Task: - - Unpin;
    Task<Here>: - - Unpin;
    TaskPool<1, 1>: - Sync Unpin;
    SpawnError<u8>: Send Sync Unpin;
    SpawnError<Stays>: - - Unpin;
    Full<u8>: Send Sync Unpin;
    NoDomainAvailable<u8>: Send Sync Unpin;
    NoDomainAvailable<Stays>: - - Unpin;
    // Events and time: of the domain that they were made on.
    Point: - - Unpin;
    PointError: Send Sync Unpin;
    Suspend<Register>: - - Unpin;
    Sleep: - - -;
    Timeout<Unit>: - - -;
    Elapsed: Send Sync Unpin;
    YieldNow: Send Sync Unpin;
    Signals<'static>: - - Unpin;
    // Ownership: a handle goes anywhere if the value may, though only its owner uses it.
    Resource<u8>: Send Sync Unpin;
    Resource<Cell<u8>>: Send Sync Unpin;
    Resource<Stays>: - - Unpin;
    LocalResource<u8>: - - Unpin;
    // Synchronisation: from any thread, if the value may be used there.
    Trigger: Send Sync Unpin;
    TriggerWait<'static>: Send Sync Unpin;
    Computation<u8>: Send Sync Unpin;
    Computation<Cell<u8>>: Send - Unpin;
    Computation<Stays>: - - Unpin;
    Mutex<u8>: Send Sync Unpin;
    Mutex<Cell<u8>>: Send Sync Unpin;
    Mutex<Stays>: - - Unpin;
    MutexGuard<'static, u8>: Send Sync Unpin;
    MutexGuard<'static, Cell<u8>>: Send - Unpin;
    MutexGuard<'static, Stays>: - - Unpin;
    Condition: Send Sync Unpin;
    Lazy<u8, u8>: Send Sync Unpin;
    Lazy<Cell<u8>, u8>: Send - Unpin;
    Lazy<u8, Stays>: - - Unpin;
    LazyError: Send Sync Unpin;
    Semaphore: Send Sync Unpin;
    Permit<'static>: Send Sync Unpin;
    Closed: Send Sync Unpin;
    TryAcquireError: Send Sync Unpin;
    Notify: Send Sync Unpin;
    Channel<Cell<u8>, 1>: Send Sync Unpin;
    Channel<Stays, 1>: - - Unpin;
    Sender<Cell<u8>>: Send Sync Unpin;
    Sender<Stays>: - - Unpin;
    Receiver<Cell<u8>>: Send Sync Unpin;
    Receiver<Stays>: - - Unpin;
    Reserved<'static, Cell<u8>>: Send Sync Unpin;
    Reserved<'static, Stays>: - - Unpin;
    SendError<u8>: Send Sync Unpin;
    TrySendError<u8>: Send Sync Unpin;
    TryReceiveError: Send Sync Unpin;
    // What a domain calls is its own.
    Hook: - - Unpin;
    // What a run is told and tells: it is plain.
    Config: Send Sync Unpin;
    DomainId: Send Sync Unpin;
    PointId: Send Sync Unpin;
    TaskId: Send Sync Unpin;
    State: Send Sync Unpin;
    Instant: Send Sync Unpin;
    Wait: Send Sync Unpin;
    Bare: Send Sync Unpin;
    NoEvents: Send Sync Unpin;
    NoInterrupt: Send Sync Unpin;
    NothingToWaitFor: Send Sync Unpin;
    Exit<u8>: Send Sync Unpin;
    Exit<Stays>: - - Unpin;
    Panic: Send Sync Unpin;
    PanicMessage: Send Sync Unpin;
    Plain<u8>: Send Sync Unpin;
    Plain<Stays>: - - Unpin;
    Violation: Send Sync Unpin;
    ViolationKind: Send Sync Unpin;
    Report: Send Sync Unpin;
    ReportPlace: Send Sync Unpin;
    RunError<u8, u8>: Send Sync Unpin;
    RunError<Stays, u8>: - - Unpin;
    EventsError<u8>: Send Sync Unpin;
    OwnershipError: Send Sync Unpin;
    SpawnRefusal: Send Sync Unpin;
}
