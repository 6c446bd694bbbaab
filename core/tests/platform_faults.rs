//! What panics outside a task: a clock, an interrupt, a thread of the platform's own (R18, R38). `events.rs` has the sources that cannot be made
//! and the `select` that fails.
//!
//! Wherever it is, `run` returns with every thread joined and every finaliser run; nobody waits for a domain that is gone.

#![cfg(feature = "std")]

mod support;

use std::cell::RefCell;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use matou_core::platform::{Events, Interrupt, Platform, Signals, Wait};
use matou_core::time::{Instant, now, sleep};
use matou_core::{
    Config, DomainId, EventsError, Exit, Orphans, PointId, Promise, Report, ReportPlace, RunError, Task, ViolationKind, call, domain, run,
    spawn, yield_now,
};
use support::leak::leak;
use support::probe::{Census, Counter, Flag, PLACES, poll_once};
use support::watched::ring;
use support::{Bell, ByHand, Threads};

const WORKERS: usize = 2;

/// [`Threads`] with faults: a clock that panics on one domain while the flag is raised, interrupts that panic when they have rung, threads
/// that panic when their worker has returned, and a function that interrupts call when they have rung.
struct Faulty {
    threads: Threads,
    clock: Option<usize>,
    clock_broken: Flag,
    interrupts_panic: bool,
    threads_panic: bool,
    on_interrupt: fn(),
    rung: Counter,
    returned: AtomicUsize,
}

impl Faulty {
    fn new() -> Faulty {
        Faulty {
            threads: Threads::new(WORKERS),
            clock: None,
            clock_broken: Flag::new(),
            interrupts_panic: false,
            threads_panic: false,
            on_interrupt: || (),
            rung: Counter::new(),
            returned: AtomicUsize::new(0),
        }
    }

    #[track_caller]
    fn assert_joined(&self) {
        assert_eq!(self.returned.load(Ordering::SeqCst), WORKERS, "workers that returned");
    }
}

struct FaultyEvents {
    inner: ByHand,
    clock_broken: Option<Flag>,
    panics: bool,
    on_interrupt: fn(),
    rung: Counter,
}

struct FaultyBell {
    bell: Bell,
    panics: bool,
    on_interrupt: fn(),
    rung: Counter,
}

impl Interrupt for FaultyBell {
    fn interrupt(&self) {
        self.bell.interrupt();
        self.rung.add();
        (self.on_interrupt)();
        assert!(!self.panics, "a cracked bell");
    }
}

impl Events for FaultyEvents {
    type Interrupt = FaultyBell;
    type Error = &'static str;

    fn interrupter(&self) -> FaultyBell {
        let (on_interrupt, rung) = (self.on_interrupt, self.rung.clone());
        FaultyBell { bell: self.inner.interrupter(), panics: self.panics, on_interrupt, rung }
    }

    fn now(&self) -> Instant {
        assert!(!self.clock_broken.as_ref().is_some_and(Flag::is_raised), "a stopped clock");
        self.inner.now()
    }

    fn select(&mut self, wait: Wait, cancelled: &[PointId], signals: &mut Signals<'_>) -> Result<(), &'static str> {
        self.inner.select(wait, cancelled, signals)
    }
}

/// A platform borrowed, as `run` takes it.
struct Borrowed<'a>(&'a Faulty);

impl Platform for Borrowed<'_> {
    type Error = &'static str;
    type Events = FaultyEvents;

    fn events(&self, domain: DomainId) -> Result<FaultyEvents, &'static str> {
        Ok(FaultyEvents {
            inner: self.0.threads.events(domain)?,
            clock_broken: (self.0.clock == Some(domain.index())).then(|| self.0.clock_broken.clone()),
            panics: self.0.interrupts_panic,
            on_interrupt: self.0.on_interrupt,
            rung: self.0.rung.clone(),
        })
    }

    fn domains(&self, workers: usize, worker: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), &'static str> {
        let worker = |domain| {
            worker(domain);
            self.0.returned.fetch_add(1, Ordering::SeqCst);
            assert!(!self.0.threads_panic, "a thread of the platform's");
        };
        self.0.threads.domains(workers, &worker, main)
    }
}

/// Quiet: what is reported is counted, for one test.
fn config() -> Config {
    Config::new().domains(WORKERS).on_report(|_| ())
}

/// Starts a sleeper with something to finalise on each domain, and waits until all sleep. With timers, if it says so.
async fn populate(census: &Census, with_timers: bool) -> Vec<Promise<()>> {
    let mut sleepers = Vec::new();
    for at in 0..=WORKERS {
        let (census, asleep) = (census.clone(), Flag::new());
        let sleeps = asleep.clone();
        let sleeper = move || async move {
            let _guard = census.guard_here();
            let _resource = census.resource_here();
            let mut slept = Box::pin(sleep(Duration::from_secs(3600)));
            if with_timers {
                assert!(poll_once(&mut slept).await.is_pending());
            }
            sleeps.raise();
            pending::<()>().await;
        };
        sleepers.push(if at == 0 { spawn(sleeper()) } else { Task::new().pin(DomainId::new(at)).call(sleeper).unwrap() });
        asleep.raised().await;
    }
    sleepers
}

// ---- a clock that panics

#[test]
fn r18_a_clock_that_panics_between_polls_ends_the_run() {
    for at in 0..=WORKERS {
        for seed in 0..3 {
            let (census, mut platform) = (Census::new(), Faulty::new());
            platform.clock = Some(at);
            let ended = run(&Borrowed(&platform), config().seed(seed), async {
                let _sleepers = populate(&census, true).await;
                platform.clock_broken.raise();
                ring(&platform.threads, at);
                pending::<()>().await;
            });
            match ended {
                Err(RunError::Events(on, EventsError::Panicked(panic))) => {
                    assert_eq!((on.index(), panic.message().as_str()), (at, "a stopped clock"));
                }
                other => panic!("{other:?}"),
            }
            platform.assert_joined();
            census.assert_all_gone(2 * (WORKERS + 1));
            assert_eq!(census.finalised(), WORKERS + 1);
        }
    }
}

#[test]
fn r18_a_clock_that_panics_in_a_task_is_that_tasks_panic() {
    for at in 0..=1 {
        for sleeps in [false, true] {
            let (census, mut platform) = (Census::new(), Faulty::new());
            platform.clock = Some(at);
            platform.clock_broken.raise();
            let ended = run(&Borrowed(&platform), config(), async {
                let sleepers = populate(&census, false).await;
                let asks = move || async move {
                    if sleeps {
                        sleep(Duration::from_secs(1)).await;
                    }
                    let _ = now();
                };
                let child = if at == 0 { spawn(asks()) } else { Task::new().pin(DomainId::new(at)).call(asks).unwrap() };
                assert!(matches!(child.await, Err(Exit::Panicked(panic)) if panic.message() == "a stopped clock"));
                for sleeper in sleepers {
                    sleeper.cancel().await;
                }
            });
            ended.unwrap();
            platform.assert_joined();
            census.assert_all_gone(2 * (WORKERS + 1));
        }
    }
}

// ---- an interrupt that panics

static CRACKED: AtomicUsize = AtomicUsize::new(0);

fn count_cracked(report: &Report) {
    if report.panic.message() == "a cracked bell" {
        assert_eq!(report.place, ReportPlace::Interrupt);
        CRACKED.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn r18_an_interrupt_that_panics_is_reported_and_changes_no_outcome() {
    for seed in 0..10 {
        let (census, mut platform) = (Census::new(), Faulty::new());
        platform.interrupts_panic = true;
        let reported = CRACKED.load(Ordering::SeqCst);
        std::thread::scope(|scope| {
            let ended = run(&Borrowed(&platform), config().seed(seed).on_report(count_cracked), async {
                let mut sleepers = populate(&census, seed % 2 == 0).await;
                // By a call, by the end of a child, by a wake from a domain and from a thread outside, by a cancellation.
                for _ in 0..20 {
                    assert_ne!(call(|| async { domain::current().unwrap().index() }).unwrap().await.unwrap(), 0);
                }
                let woken = Flag::new();
                let raised = woken.raised();
                let sleeper = call(move || raised).unwrap();
                scope.spawn(move || woken.raise());
                sleeper.await.unwrap();
                let turns = call(|| async { call(|| async { 7 }).unwrap().await.unwrap() });
                assert_eq!(turns.unwrap().await.unwrap(), 7);
                sleepers.pop().unwrap().cancel().await;
                match seed % 3 {
                    0 => {
                        drop(sleepers);
                        Ok(())
                    }
                    1 => Err("the end"),
                    _ => {
                        for sleeper in sleepers {
                            sleeper.cancel().await;
                        }
                        Ok(())
                    }
                }
            });
            match (seed % 3, ended) {
                (0, Err(RunError::Violation(violation))) => assert!(matches!(violation.kind, ViolationKind::StillHasChildren { .. })),
                (1, Err(RunError::Failed("the end"))) | (2, Ok(())) => {}
                (_, other) => panic!("{other:?}"),
            }
        });
        platform.assert_joined();
        census.assert_all_gone(2 * (WORKERS + 1));
        assert_eq!(census.finalised(), WORKERS + 1);
        assert!(platform.rung.get() > 0 && CRACKED.load(Ordering::SeqCst) > reported, "bells were rung, and heard to crack");
    }
}

#[test]
fn an_interrupt_that_drops_promises_and_collectors_in_the_midst_of_a_cancellation_harms_nobody() {
    thread_local! {
        static KEPT: RefCell<Option<(Promise<()>, Orphans<()>)>> = const { RefCell::new(None) };
    }
    for seed in 0..20 {
        let mut platform = Faulty::new();
        platform.on_interrupt = || drop(KEPT.take());
        let census = Census::new();
        let ended = run(&Borrowed(&platform), config().seed(seed), async {
            let family = async {
                let mut children = Vec::new();
                for place in [true, false, true, false, true] {
                    let (census, asleep) = (census.clone(), Flag::new());
                    let sleeps = asleep.clone();
                    let child = move || async move {
                        let _guard = census.guard_here();
                        sleeps.raise();
                        if place {
                            pending::<()>().await;
                        }
                    };
                    let child = if place { call(child).unwrap() } else { spawn(child()) };
                    asleep.raised().await;
                    if !place {
                        while !child.is_ended() {
                            yield_now().await;
                        }
                    }
                    children.push(child);
                }
                let orphans = Orphans::new();
                for sleeps in [true, false] {
                    let guard = census.guard();
                    let child = move || async move {
                        let _guard = guard;
                        if sleeps {
                            pending::<()>().await;
                        }
                    };
                    orphans.call(child).unwrap();
                    spawn(yield_now()).await.unwrap();
                }
                // The first of the sleepers is told; the bell drops the promise of the ended one behind it, and the `Orphans` behind all.
                (1..=WORKERS).for_each(|worker| platform.threads.hand(worker).wait_until(|log| log.sleeps > 0));
                std::thread::sleep(Duration::from_millis(1));
                KEPT.set(Some((children.remove(1), orphans)));
                leak(children);
                Err::<(), _>("they are all cancelled")
            };
            family.await
        });
        assert!(matches!(ended, Err(RunError::Failed("they are all cancelled"))), "{ended:?}");
        platform.assert_joined();
        drop(KEPT.take());
        census.assert_all_gone(7);
    }
}

// ---- a thread of the platform's that panics

#[test]
fn r18_a_thread_that_panics_after_its_worker_has_returned_is_the_platforms_panic() {
    for place in PLACES {
        let (census, mut platform) = (Census::new(), Faulty::new());
        platform.threads_panic = true;
        let ended = catch_unwind(AssertUnwindSafe(|| {
            run(&Borrowed(&platform), config(), async {
                let sleepers = populate(&census, false).await;
                place.start(|| async {}).await.unwrap();
                for sleeper in sleepers {
                    sleeper.cancel().await;
                }
            })
        }));
        // `std::thread::scope` says that one of its threads did.
        assert!(ended.is_err());
        platform.assert_joined();
        census.assert_all_gone(2 * (WORKERS + 1));
        // And nothing of it is left on this thread.
        assert_eq!(domain::current(), None);
    }
}
